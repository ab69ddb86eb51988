// A component in JavaScript: wraps the event in a greeting.
import { log } from "jobico:jobicolet/host@0.1.0";

export function handle(event) {
  const customer = JSON.parse(new TextDecoder().decode(event.payload));
  log("info", "greeting somebody");
  if (customer.fail) {
    throw { code: 7, message: "asked to fail" };
  }
  return new TextEncoder().encode(JSON.stringify({ greeting: "Hello from JavaScript", event: customer }));
}
