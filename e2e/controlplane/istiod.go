package main

import (
	"fmt"
	"io"
	"os"
	"reflect"
	"syscall"
	"time"
	"unsafe"

	"istio.io/istio/manifests"
	"istio.io/istio/pilot/pkg/bootstrap"
	"istio.io/istio/pilot/pkg/serviceregistry/provider"
	"istio.io/istio/pkg/cluster"
	"istio.io/istio/pkg/kube"
	"istio.io/istio/pkg/log"
)

const (
	clusterID = "Kubernetes"
	namespace = "istio-system"
	marker    = "PROXYLESS_E2E_ISTIOD_ENVIRONMENT" // set on the second of the two lives of this process
)

// withIstioEnvironment sees to it that istiod's settings are in the environment before any of its packages reads
// them, which they do when they are initialised: the process replaces itself once, under the same process id.
func withIstioEnvironment(s *settings) error {
	if os.Getenv(marker) != "" {
		return nil
	}
	defaults := map[string]string{
		"POD_NAMESPACE":                 namespace,
		"POD_NAME":                      "istiod-1",
		"REVISION":                      "default",
		"CLUSTER_ID":                    clusterID,
		"PILOT_CERT_PROVIDER":           "istiod",
		"ISTIOD_CUSTOM_HOST":            "localhost,istiod.istio-system.svc",
		"INJECT_ENABLED":                "false",
		"UNSAFE_ENABLE_ADMIN_ENDPOINTS": "true", // /debug/config_dump and its kind, without a token
		"ROOT_CA_DIR":                   s.CA,
	}
	if s.CA == "" {
		defaults["ROOT_CA_DIR"] = "/nonexistent" // not ./etc/cacerts of wherever we were started
	} else if err := ensureRoot(s.CA); err != nil {
		return fmt.Errorf("--ca %s: %w", s.CA, err)
	}
	if s.Kubeconfig != "" {
		defaults["ISTIO_MULTIROOT_MESH"] = "true" // a root that is added to the --ca folder is taken over at once
	}
	for name, value := range defaults {
		if _, set := os.LookupEnv(name); !set || name == "ROOT_CA_DIR" {
			os.Setenv(name, value)
		}
	}
	os.Setenv(marker, "1")
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(self, os.Args, os.Environ())
}

// startIstiod starts the real control plane, from files or from Kubernetes; it runs until stop is closed.
func startIstiod(s *settings, stop <-chan struct{}) (*bootstrap.Server, error) {
	logging := log.DefaultOptions()
	logging.OutputPaths = []string{"stderr"} // stdout is for the ready line
	logging.SetDefaultOutputLevel(log.OverrideScopeName, log.StringToLevel(s.log))
	if err := log.Configure(logging); err != nil {
		return nil, err
	}
	args := bootstrap.NewPilotArgs(func(a *bootstrap.PilotArgs) {
		a.ServerOptions = bootstrap.DiscoveryServerOptions{
			GRPCAddr:       s.GRPC,
			SecureGRPCAddr: s.SecureGRPC,
			HTTPAddr:       s.HTTP,
			HTTPSAddr:      s.HTTPS,
			MonitoringAddr: s.Monitoring,
			TLSOptions:     bootstrap.TLSOptions{TLSMinVersion: bootstrap.TLSMinVersion1_2},
		}
		a.RegistryOptions.FileDir = s.Config
		if s.Kubeconfig != "" {
			a.RegistryOptions.KubeConfig = s.Kubeconfig
			a.RegistryOptions.Registries = []string{string(provider.Kubernetes)}
		}
		a.RegistryOptions.KubeOptions.DomainSuffix = "cluster.local"
		a.RegistryOptions.KubeOptions.ClusterID = cluster.ID(clusterID)
		a.MeshConfigFile = s.Mesh
		a.ShutdownDuration = time.Second
	})
	if err := args.Complete(); err != nil {
		return nil, err
	}
	var before []func(*bootstrap.Server)
	if s.Kubeconfig == "" {
		before = append(before, withoutKubernetes)
	}
	istiod, err := bootstrap.NewServer(args, before...)
	if err != nil {
		return nil, err
	}
	return istiod, istiod.Start(stop)
}

// withoutKubernetes gives istiod an empty in-memory Kubernetes, as its own tests do: with files alone it panics in
// serviceentry.newController. The field is not exported.
func withoutKubernetes(istiod *bootstrap.Server) {
	field := reflect.ValueOf(istiod).Elem().FieldByName("kubeClient")
	client := reflect.ValueOf(kube.NewFakeClient())
	reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem().Set(client)
}

// printCRDs writes the definitions that this istiod's own installation has.
func printCRDs(to io.Writer) error {
	definitions, err := manifests.FS.ReadFile("charts/base/files/crd-all.gen.yaml")
	if err != nil {
		return err
	}
	_, err = to.Write(definitions)
	return err
}
