// Sends events to the address of the first argument, in the mode of the second; see ../record.cjs.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
)

func made(mode string, number int) event.Event {
	made := event.New()
	made.SetID(fmt.Sprintf("go %s-%d", mode, number))
	made.SetSource("/agents/50%25")
	made.SetType("ai.execution.finished")
	made.SetSubject("sdk-gö")
	made.SetTime(time.Date(2026, 10, 16, 8, 30, 0, 0, time.UTC))
	made.SetExtension("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	made.SetExtension("retry", 7)
	data := map[string]any{
		"execution_id": fmt.Sprintf("x%d", number), "status": "succeeded",
		"model": "claude-sonnet-4", "input_tokens": 1000,
	}
	if err := made.SetData(event.ApplicationJSON, data); err != nil {
		log.Fatal(err)
	}
	return made
}

func main() {
	url, mode := os.Args[1], os.Args[2]
	var request *http.Request
	var err error
	if mode == "batch" {
		events := []event.Event{made(mode, 1), made(mode, 2)}
		request, err = cehttp.NewHTTPRequestFromEvents(context.Background(), url, events)
	} else {
		request, err = http.NewRequest(http.MethodPost, url, nil)
		if err == nil {
			one := made(mode, 1)
			ctx := binding.WithForceBinary(context.Background())
			if mode == "structured" {
				ctx = binding.WithForceStructured(context.Background())
			}
			err = cehttp.WriteRequest(ctx, binding.ToMessage(&one), request)
		}
	}
	if err != nil {
		log.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer KEY")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	answer.Body.Close()
}
