"""The command line: one module for each command. It calls the server over gRPC, as any client."""
