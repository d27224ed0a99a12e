// Command interop is grpc-go at either end of gRPC's interop cases.
//
// The cases and the test service are grpc-go's own package; this adds a port chosen by the system, an end with the
// parent process, and the compression cases, which that package leaves out.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"os"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

func main() {
	if len(os.Args) < 2 {
		fail(errors.New("usage: interop client|server [flags]"))
	}
	flags := flag.NewFlagSet("interop "+os.Args[1], flag.ExitOnError)
	var err error
	switch os.Args[1] {
	case "server":
		listen := flags.String("listen", "127.0.0.1:0", "address to serve on; its port is printed")
		cert := flags.String("cert", "", "certificate chain (PEM); with -key: serve TLS")
		key := flags.String("key", "", "private key (PEM)")
		_ = flags.Parse(os.Args[2:])
		err = serve(*listen, *cert, *key)
	case "client":
		target := flags.String("target", "", "host:port of the server under test")
		name := flags.String("case", "all", "the case to run, or all")
		root := flags.String("root", "", "root certificates (PEM): use TLS")
		_ = flags.Parse(os.Args[2:])
		err = run(*target, *name, *root)
	default:
		err = fmt.Errorf("%q is neither client nor server", os.Args[1])
	}
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "interop:", err)
	os.Exit(1)
}

func clientCredentials(root string) (credentials.TransportCredentials, error) {
	if root == "" {
		return insecure.NewCredentials(), nil
	}
	pem, err := os.ReadFile(root)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", root)
	}
	return credentials.NewTLS(&tls.Config{RootCAs: pool}), nil
}
