// Command kindconfig reads a configuration file of kind as kind itself does: strictly, into its own types. It prints
// what kind would work with, its defaults filled in, as JSON; what kind would refuse is an error.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
)

const apiVersion = "kind.x-k8s.io/v1alpha4"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: kindconfig FILE")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintf(os.Stderr, "kindconfig: %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

func run(file string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	cluster := &v1alpha4.Cluster{}
	decoder := yaml.NewDecoder(bytes.NewReader(raw))
	decoder.KnownFields(true)
	if err := decoder.Decode(cluster); err != nil {
		return err
	}
	if cluster.APIVersion != apiVersion || cluster.Kind != "Cluster" {
		return fmt.Errorf("%s %s is not %s Cluster", cluster.APIVersion, cluster.Kind, apiVersion)
	}
	v1alpha4.SetDefaultsCluster(cluster)
	return json.NewEncoder(os.Stdout).Encode(cluster)
}
