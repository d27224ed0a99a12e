// Command kubernetes is a real control plane of Kubernetes in one binary, for end-to-end tests without Docker:
//
//	kubernetes apiserver ETCD-FOLDER FLAGS...    etcd, and kube-apiserver on it
//	kubernetes controllers FLAGS...              kube-controller-manager
//
// FLAGS are those of kube-apiserver and of kube-controller-manager. There is no kubelet and no scheduler: see
// e2e/cluster/kubelet.py.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func main() {
	command, err := command(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "kubernetes:", err)
		os.Exit(1)
	}
	os.Exit(cli.Run(command))
}

// command is the upstream command with its arguments set; for the apiserver, etcd runs already when it is returned.
func command(args []string) (*cobra.Command, error) {
	switch {
	case len(args) >= 2 && args[0] == "apiserver":
		endpoint, err := startEtcd(args[1])
		if err != nil {
			return nil, err
		}
		command := apiserver.NewAPIServerCommand()
		command.SetArgs(append([]string{"--etcd-servers=" + endpoint}, args[2:]...))
		return command, nil
	case len(args) >= 1 && args[0] == "controllers":
		command := controllers.NewControllerManagerCommand()
		command.SetArgs(args[1:])
		return command, nil
	}
	return nil, fmt.Errorf("usage: kubernetes apiserver ETCD-FOLDER FLAGS... | kubernetes controllers FLAGS...")
}
