// Package jobicolet is what a Go command needs to be a Jobicolet: the event on stdin, the result on stdout.
package jobicolet

import (
	"fmt"
	"io"
	"os"
)

// Event is what the host tells of the event, besides its payload.
type Event struct {
	ID, Name, Tenant, Attempt string
	Payload                   []byte
}

// Failure is an error with a code of the program's own, 1 to 255.
type Failure struct {
	Code    int
	Message string
}

func (f Failure) Error() string { return f.Message }

// Log writes one log line of this attempt.
func Log(format string, values ...any) { fmt.Fprintf(os.Stderr, format+"\n", values...) }

// Main reads the event, calls handle once, and writes what it returns. It does not return.
func Main(handle func(Event) ([]byte, error)) {
	payload, err := io.ReadAll(os.Stdin)
	if err == nil {
		var result []byte
		result, err = handle(Event{
			ID: os.Getenv("JOBICO_EVENT_ID"), Name: os.Getenv("JOBICO_EVENT"), Tenant: os.Getenv("JOBICO_TENANT"),
			Attempt: os.Getenv("JOBICO_ATTEMPT"), Payload: payload,
		})
		if err == nil {
			os.Stdout.Write(result)
			os.Exit(0)
		}
	}
	fmt.Fprint(os.Stdout, err.Error())
	if failure, ok := err.(Failure); ok {
		os.Exit(failure.Code)
	}
	os.Exit(1)
}
