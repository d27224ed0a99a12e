// Command helm lints and renders a chart, by Helm's own code and as strictly as it can:
//
//	helm lint CHART [--values FILE] [--set KEY=VALUE]...
//	helm template CHART --release NAME --namespace NAMESPACE [--values FILE] [--set KEY=VALUE]...
//
// lint prints every finding and fails on warnings too; template prints the manifests as a stream of YAML.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/cli/values"
	"helm.sh/helm/v3/pkg/getter"
)

// kubernetes is the version that charts are rendered for: that of e2e/cluster/kubernetes.
const kubernetes = "v1.36.1"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "helm:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return errors.New("usage: helm lint|template CHART [flags]")
	}
	chart := args[1]
	var given values.Options
	flags := flag.NewFlagSet("helm", flag.ContinueOnError)
	release := flags.String("release", "demo", "`name` of the release")
	namespace := flags.String("namespace", "default", "its `namespace`")
	flags.Func("values", "`file` of values, over the chart's own", func(file string) error {
		given.ValueFiles = append(given.ValueFiles, file)
		return nil
	})
	flags.Func("set", "one `key=value`", func(pair string) error {
		given.Values = append(given.Values, pair)
		return nil
	})
	if err := flags.Parse(args[2:]); err != nil {
		return err
	}
	merged, err := given.MergeValues(getter.Providers{})
	if err != nil {
		return err
	}
	switch args[0] {
	case "lint":
		return lint(chart, *namespace, merged)
	case "template":
		return template(chart, *release, *namespace, merged)
	}
	return fmt.Errorf("%q is neither lint nor template", args[0])
}

func lint(chart, namespace string, given map[string]any) error {
	version, err := chartutil.ParseKubeVersion(kubernetes)
	if err != nil {
		return err
	}
	linter := action.NewLint()
	linter.Strict = true
	linter.Namespace = namespace
	linter.KubeVersion = version
	result := linter.Run([]string{chart}, given)
	for _, message := range result.Messages {
		fmt.Println(message)
	}
	return errors.Join(result.Errors...)
}

func template(chart, release, namespace string, given map[string]any) error {
	loaded, err := loader.Load(chart)
	if err != nil {
		return err
	}
	version, err := chartutil.ParseKubeVersion(kubernetes)
	if err != nil {
		return err
	}
	install := action.NewInstall(&action.Configuration{Log: func(string, ...any) {}})
	install.DryRun, install.ClientOnly = true, true
	install.ReleaseName, install.Namespace = release, namespace
	install.KubeVersion = version
	rendered, err := install.Run(loaded, given)
	if err != nil {
		return err
	}
	fmt.Println(strings.TrimSpace(rendered.Manifest))
	for _, hook := range rendered.Hooks {
		fmt.Printf("---\n# Source: %s\n%s\n", hook.Path, strings.TrimSpace(hook.Manifest))
	}
	return nil
}
