// Submits a task, follows it to its end, and prints its log.
//
//	./build.sh
//	FETCHML_API_KEY=… ./client my-job python train.py --lr 0.1
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	fetchml "fetchml/v1"
)

// patienceFor is the time for which calls and streams are retried: FETCHML_PATIENCE in seconds.
var patienceFor = func() time.Duration {
	duration, err := time.ParseDuration(environment("FETCHML_PATIENCE", "60") + "s")
	if err != nil {
		panic(err)
	}
	return duration
}()

func environment(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func ended(task *fetchml.Task) bool {
	return task.GetStatus() == fetchml.Task_completed || task.GetStatus() == fetchml.Task_failed
}

// pauseAfter returns the delay before the next try, if a retry can help: the server is away, or busy
// for a known time.
func pauseAfter(err error) (pause time.Duration, useful bool) {
	failed := status.Convert(err)
	switch failed.Code() {
	case codes.Unavailable:
		return 200 * time.Millisecond, true
	case codes.ResourceExhausted:
		for _, detail := range failed.Details() {
			if busy, is := detail.(*errdetails.RetryInfo); is {
				return busy.GetRetryDelay().AsDuration(), true
			}
		}
	}
	return 0, false
}

// patience counts from the first failure since the last success.
type patience struct{ failedAt time.Time }

func (p *patience) worked() { p.failedAt = time.Time{} }

// rest waits before the next try, and returns false if a retry can't help.
func (p *patience) rest(err error) bool {
	pause, useful := pauseAfter(err)
	if p.failedAt.IsZero() {
		p.failedAt = time.Now()
	}
	if !useful || time.Since(p.failedAt)+pause > patienceFor {
		return false
	}
	time.Sleep(pause)
	return true
}

// again calls until it works. Only for calls that may be repeated.
func again[Reply any](call func() (Reply, error)) (Reply, error) {
	var patience patience
	for {
		reply, err := call()
		if err == nil || !patience.rest(err) {
			return reply, err
		}
	}
}

func submit(ctx context.Context, tasks fetchml.TaskServiceClient, jobName string, command []string) (*fetchml.Task, error) {
	request := &fetchml.CreateTaskRequest{
		JobName: proto.String(jobName),
		Command: command,
		// With the key it is one task, however often the call is repeated.
		IdempotencyKey: proto.String(rand.Text()),
	}
	return again(func() (*fetchml.Task, error) { return tasks.CreateTask(ctx, request) })
}

// watch calls `changed` with every change of the task, to its end. It resumes after a cut.
func watch(ctx context.Context, tasks fetchml.TaskServiceClient, id string, changed func(*fetchml.Task)) error {
	request := &fetchml.WatchTasksRequest{TaskId: id}
	var patience patience
	for {
		err := watchOnce(ctx, tasks, request, &patience, changed)
		if err == nil || !patience.rest(err) {
			return err
		}
		fmt.Fprintln(os.Stderr, "cut off; going on after", request.GetSinceSeq())
	}
}

// watchOnce reads one stream, and records in the request where the next one starts.
func watchOnce(ctx context.Context, tasks fetchml.TaskServiceClient, request *fetchml.WatchTasksRequest, patience *patience, changed func(*fetchml.Task)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := tasks.WatchTasks(ctx, request)
	if err != nil {
		return err
	}
	// An accepted stream works, even if it is quiet for hours.
	if header, err := stream.Header(); err == nil && len(header.Get("x-trace-id")) > 0 {
		patience.worked()
	}
	for {
		update, err := stream.Recv()
		if err != nil {
			return err
		}
		patience.worked()
		// An interrupted snapshot can't be resumed.
		if update.GetType() != fetchml.WatchTasksResponse_snapshot {
			request.SinceSeq = update.Seq
		}
		task := update.GetTask()
		if task == nil {
			// `synced`: the snapshot, which has live tasks only, is complete. `resync`: changes
			// were missed. Both need a look at the task itself.
			task, err = again(func() (*fetchml.Task, error) {
				return tasks.GetTask(ctx, &fetchml.GetTaskRequest{TaskId: request.TaskId})
			})
			if err != nil {
				return err
			}
		}
		changed(task)
		if ended(task) || update.GetType() == fetchml.WatchTasksResponse_task_deleted {
			return nil
		}
	}
}

// printLog prints the task's log. After a cut it continues at the next byte.
func printLog(ctx context.Context, tasks fetchml.TaskServiceClient, id string) error {
	request := &fetchml.StreamTaskLogsRequest{TaskId: id}
	var patience patience
	for {
		err := printOnce(ctx, tasks, request, &patience)
		if err == nil || !patience.rest(err) {
			return err
		}
		fmt.Fprintln(os.Stderr, "cut off; going on after", request.GetOffset())
	}
}

func printOnce(ctx context.Context, tasks fetchml.TaskServiceClient, request *fetchml.StreamTaskLogsRequest, patience *patience) error {
	stream, err := tasks.StreamTaskLogs(ctx, request)
	if err != nil {
		return err
	}
	for {
		chunk, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		patience.worked()
		os.Stdout.Write(chunk.Data)
		request.Offset = chunk.GetOffset() + int64(len(chunk.Data))
	}
}

// explain prints the details of an error: its code, the fields at fault, the trace id.
func explain(err error) {
	failed := status.Convert(err)
	fmt.Fprintf(os.Stderr, "error %s: %s\n", failed.Code(), failed.Message())
	for _, detail := range failed.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			fmt.Fprintf(os.Stderr, "  code %s, trace %s\n", detail.Reason, detail.Metadata["trace_id"])
		case *errdetails.BadRequest:
			for _, violation := range detail.FieldViolations {
				fmt.Fprintf(os.Stderr, "  %s: %s\n", violation.Field, violation.Description)
			}
		}
	}
}

func run(jobName string, command []string) (fetchml.Task_Status, error) {
	connection, err := grpc.NewClient(
		environment("FETCHML_SERVER", "127.0.0.1:9102"),
		// With TLS: credentials.NewTLS(nil).
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		// Detects a vanished server within a minute.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 40 * time.Second, Timeout: 20 * time.Second}),
		// By default gRPC tries an unreachable server only every two minutes.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, MaxDelay: 2 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
	)
	if err != nil {
		return 0, err
	}
	defer connection.Close()
	tasks := fetchml.NewTaskServiceClient(connection)
	ctx := metadata.AppendToOutgoingContext(context.Background(), "x-api-key", os.Getenv("FETCHML_API_KEY"))

	task, err := submit(ctx, tasks, jobName, command)
	if err != nil {
		return 0, err
	}
	fmt.Println("task", task.GetId())
	last := fetchml.Task_status_unspecified
	err = watch(ctx, tasks, task.GetId(), func(task *fetchml.Task) {
		if task.GetStatus() != last {
			last = task.GetStatus()
			fmt.Println(last)
		}
	})
	if err != nil {
		return last, err
	}
	return last, printLog(ctx, tasks, task.GetId())
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: client JOB_NAME COMMAND…")
		os.Exit(2)
	}
	last, err := run(os.Args[1], os.Args[2:])
	if err != nil {
		explain(err)
		os.Exit(2)
	}
	if last != fetchml.Task_completed {
		os.Exit(1)
	}
}
