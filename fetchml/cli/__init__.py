"""What people type. Speaks to the server over gRPC, as any other client."""
