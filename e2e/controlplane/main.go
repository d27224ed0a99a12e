// Command controlplane runs the real istiod in one process of its own, without Docker. Configuration is a watched folder
// of Istio YAML, or a Kubernetes API server as in any cluster. One line on stdout says when it is ready:
//
//	ready {"grpc":"127.0.0.1:15010","secure_grpc":"127.0.0.1:15012",...}
//
// Logs go to stderr. SIGTERM and SIGINT end it cleanly. "controlplane crds" prints Istio's CustomResourceDefinitions,
// as its base chart has them.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// settings are the command line; the addresses are also what the ready line tells.
type settings struct {
	GRPC       string `json:"grpc"`
	SecureGRPC string `json:"secure_grpc"`
	HTTP       string `json:"http"`
	HTTPS      string `json:"https"`
	Monitoring string `json:"monitoring"`
	Config     string `json:"config,omitempty"`
	Kubeconfig string `json:"kubeconfig,omitempty"`
	Mesh       string `json:"mesh"`
	CA         string `json:"ca"`

	log  string
	wait time.Duration
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "crds" {
		if err := printCRDs(os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "controlplane crds:", err)
			os.Exit(1)
		}
		return
	}
	s, err := parse(os.Args[1:])
	if err != nil {
		os.Exit(2) // the flag set has said why
	}
	if err := run(s); err != nil {
		fmt.Fprintln(os.Stderr, "controlplane:", err)
		os.Exit(1)
	}
}

func parse(args []string) (*settings, error) {
	s := &settings{}
	f := flag.NewFlagSet("controlplane", flag.ContinueOnError)
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "controlplane: the real istiod, configured by a folder of Istio YAML or by Kubernetes. Port 0 means any free port.")
		f.PrintDefaults()
	}
	f.StringVar(&s.Config, "config", "", "`folder` of Istio YAML, watched")
	f.StringVar(&s.Kubeconfig, "kubeconfig", "", "`file` that says where the Kubernetes API server is, and who we are to it;\n"+
		"services, pods, tokens and Istio's resources come from there, instead of --config")
	f.StringVar(&s.Mesh, "mesh", "", "mesh config `file` (MeshConfig as YAML), watched; empty: istiod's own defaults")
	f.StringVar(&s.CA, "ca", "", "`folder` of the root that signs workloads (root-cert.pem, ca-cert.pem, ca-key.pem,\n"+
		"cert-chain.pem); made there when it is missing, so a restart keeps it. Empty: a new root at every start")
	f.StringVar(&s.GRPC, "grpc", "127.0.0.1:15010", "`address` of plaintext xDS")
	f.StringVar(&s.SecureGRPC, "secure-grpc", "127.0.0.1:15012", "`address` of xDS and CSRs over TLS")
	f.StringVar(&s.HTTP, "http", "127.0.0.1:8080", "`address` of /ready and /debug")
	f.StringVar(&s.HTTPS, "https", "127.0.0.1:15017", "`address` of the webhooks")
	f.StringVar(&s.Monitoring, "monitoring", "127.0.0.1:15014", "`address` of /metrics and /debug")
	f.StringVar(&s.log, "log", "warn", "istiod's log `level` on stderr: debug, info, warn, error, none")
	f.DurationVar(&s.wait, "wait", time.Minute, "give up when istiod is not ready after this `time`")
	if err := f.Parse(args); err != nil {
		if err == flag.ErrHelp {
			os.Exit(0)
		}
		return nil, err
	}
	if f.NArg() > 0 || (s.Config == "") == (s.Kubeconfig == "") {
		err := fmt.Errorf("one of --config FOLDER and --kubeconfig FILE is required, and there are no other arguments (got %q)", f.Args())
		fmt.Fprintln(f.Output(), err)
		return nil, err
	}
	return s, nil
}

// run starts istiod, says when it is ready, and returns after a signal has ended it.
func run(s *settings) error {
	if err := withIstioEnvironment(s); err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	if err := settlePorts(&s.GRPC, &s.SecureGRPC, &s.HTTP, &s.HTTPS, &s.Monitoring); err != nil {
		return err
	}
	stop := make(chan struct{})
	istiod, err := startIstiod(s, stop)
	if err != nil {
		return err
	}
	if err := waitReady(s.HTTP, s.wait); err != nil {
		return err
	}
	line, err := json.Marshal(s)
	if err != nil {
		return err
	}
	fmt.Printf("ready %s\n", line)
	<-signals
	close(stop)
	istiod.WaitUntilCompletion()
	return nil
}

// settlePorts replaces each port 0 by a free one: istiod takes 0 too, but does not tell which port it got for gRPC.
// All are held until the last is found, so no two are the same, and none is ephemeral: between here and the moment
// when istiod listens, an outgoing connection of anybody may be given an ephemeral port.
func settlePorts(addresses ...*string) error {
	for _, address := range addresses {
		l, err := listenBelowEphemeral(*address)
		if err != nil {
			return err
		}
		defer l.Close()
		*address = l.Addr().String()
	}
	return nil
}

func listenBelowEphemeral(address string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || port != "0" {
		return net.Listen("tcp", address) // it says what is wrong with the address, too
	}
	for range 200 {
		port := strconv.Itoa(10_000 + rand.IntN(20_000))
		if l, err := net.Listen("tcp", net.JoinHostPort(host, port)); err == nil {
			return l, nil
		}
	}
	return nil, fmt.Errorf("%s: no free port between 10000 and 30000", address)
}

func waitReady(address string, limit time.Duration) error {
	var last string
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		response, err := http.Get("http://" + address + "/ready")
		if err != nil {
			last = err.Error()
			continue
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode == http.StatusOK {
			return nil
		}
		last = fmt.Sprintf("%s %s", response.Status, body)
	}
	return fmt.Errorf("istiod is not ready after %s; /ready says: %s", limit, last)
}
