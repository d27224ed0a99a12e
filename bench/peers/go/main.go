// grpc-go's ends of the measurements, as grpc-go comes.
//
//	grpc-go server                                                         prints its port, serves until stdin ends
//	grpc-go client --port PORT --load unary --concurrency 16 --payload 100
package main

import (
	"flag"
	"log"
	"os"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("server or client")
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	port := flags.Int("port", 0, "client: the server's port")
	load := flags.String("load", "unary", "client: unary or stream")
	concurrency := flags.Int("concurrency", 1, "client: goroutines that call")
	payload := flags.Int("payload", 100, "client: bytes in each message")
	flags.String("mode", "", "of no meaning here")
	_ = flags.Parse(os.Args[2:])
	var err error
	if os.Args[1] == "server" {
		err = serve()
	} else {
		err = client(*port, *load, *concurrency, *payload)
	}
	if err != nil {
		log.Fatal(err)
	}
}
