// A gateway as the documentation of grpc-gateway has it: what the plugin generates, and nothing else.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"

	v1 "fetchml/v1"
	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	_ "google.golang.org/genproto/googleapis/rpc/errdetails" // without it, errors with details are 500
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
)

func forwarded(name string) (string, bool) {
	switch strings.ToLower(name) {
	case "x-api-key", "idempotency-key", "traceparent":
		return strings.ToLower(name), true
	}
	return runtime.DefaultHeaderMatcher(name)
}

func main() {
	mux := runtime.NewServeMux(
		runtime.WithIncomingHeaderMatcher(forwarded),
		runtime.WithMarshalerOption(runtime.MIMEWildcard, &runtime.JSONPb{
			MarshalOptions:   protojson.MarshalOptions{UseProtoNames: true},
			UnmarshalOptions: protojson.UnmarshalOptions{DiscardUnknown: true},
		}))
	connection, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		panic(err)
	}
	for _, register := range []func(context.Context, *runtime.ServeMux, *grpc.ClientConn) error{
		v1.RegisterAuditServiceHandler,
		v1.RegisterExperimentServiceHandler,
		v1.RegisterGpuServiceHandler,
		v1.RegisterJupyterServiceHandler,
		v1.RegisterQueueServiceHandler,
		v1.RegisterSnapshotServiceHandler,
		v1.RegisterStorageServiceHandler,
		v1.RegisterTaskServiceHandler,
		v1.RegisterUsageServiceHandler,
	} {
		if err := register(context.Background(), mux, connection); err != nil {
			panic(err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Printf("ready http=%s\n", listener.Addr())
	panic(http.Serve(listener, mux))
}
