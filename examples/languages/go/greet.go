// A command in Go: wraps the event in a greeting.
package main

import (
	"encoding/json"

	"greet/jobicolet"
)

type greeting struct {
	Greeting string          `json:"greeting"`
	Event    json.RawMessage `json:"event"`
}

func handle(event jobicolet.Event) ([]byte, error) {
	var customer struct {
		Fail bool `json:"fail"`
	}
	if err := json.Unmarshal(event.Payload, &customer); err != nil {
		return nil, err
	}
	jobicolet.Log("greeting somebody")
	if customer.Fail {
		return nil, jobicolet.Failure{Code: 7, Message: "asked to fail"}
	}
	return json.Marshal(greeting{"Hello from Go", event.Payload})
}

func main() { jobicolet.Main(handle) }
