// Submits a task, follows it to its end, and prints what it wrote.
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
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	fetchml "fetchml/v1"
)

const reconnectFor = time.Minute

func environment(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func ended(task *fetchml.Task) bool {
	return task.GetStatus() == fetchml.Task_completed || task.GetStatus() == fetchml.Task_failed
}

func wasCut(err error) bool { return status.Code(err) == codes.Unavailable }

// submit calls again while the server is away. The idempotency key makes many tries one task.
func submit(ctx context.Context, tasks fetchml.TaskServiceClient, jobName string, command []string) (*fetchml.Task, error) {
	request := &fetchml.CreateTaskRequest{
		JobName:        proto.String(jobName),
		Command:        command,
		IdempotencyKey: proto.String(rand.Text()),
	}
	for tries := 1; ; tries++ {
		task, err := tasks.CreateTask(ctx, request)
		if err == nil || !wasCut(err) || tries == 5 {
			return task, err
		}
		time.Sleep(time.Duration(tries) * 500 * time.Millisecond)
	}
}

// watch calls `changed` with every change of the task, to its end. After a cut it goes on after the
// last change that it saw.
func watch(ctx context.Context, tasks fetchml.TaskServiceClient, id string, changed func(*fetchml.Task)) error {
	request := &fetchml.WatchTasksRequest{TaskId: id}
	lastHeard := time.Now()
	for {
		done, err := watchOnce(ctx, tasks, request, func(task *fetchml.Task) {
			lastHeard = time.Now()
			changed(task)
		})
		if done {
			return nil
		}
		if !wasCut(err) || time.Since(lastHeard) > reconnectFor {
			return err
		}
		fmt.Fprintln(os.Stderr, "cut off; going on after", request.GetSinceSeq())
		time.Sleep(200 * time.Millisecond)
	}
}

// watchOnce reads one stream, and notes in the request where the next one has to begin.
func watchOnce(ctx context.Context, tasks fetchml.TaskServiceClient, request *fetchml.WatchTasksRequest, changed func(*fetchml.Task)) (done bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := tasks.WatchTasks(ctx, request)
	if err != nil {
		return false, err
	}
	for {
		update, err := stream.Recv()
		if err != nil {
			return false, err
		}
		// A snapshot that is cut short can't be resumed.
		if update.GetType() != fetchml.WatchTasksResponse_snapshot {
			request.SinceSeq = update.Seq
		}
		task := update.GetTask()
		if task == nil {
			// `synced`: the snapshot, which has live tasks only, is complete. `resync`: changes
			// were missed. In both cases the task itself tells how it is.
			task, err = tasks.GetTask(ctx, &fetchml.GetTaskRequest{TaskId: request.TaskId})
			if err != nil {
				return false, err
			}
		}
		changed(task)
		if ended(task) || update.GetType() == fetchml.WatchTasksResponse_task_deleted {
			return true, nil
		}
	}
}

func printLog(ctx context.Context, tasks fetchml.TaskServiceClient, id string) error {
	stream, err := tasks.StreamTaskLogs(ctx, &fetchml.StreamTaskLogsRequest{TaskId: id})
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
		os.Stdout.Write(chunk.Data)
	}
}

// explain prints what the server has told beyond the status: its code, the fields at fault, the
// trace id.
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
		// A server that vanished without a word is noticed within a minute.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 40 * time.Second, Timeout: 20 * time.Second}),
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
