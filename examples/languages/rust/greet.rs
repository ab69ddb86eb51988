//! A Jobicolet in Rust: wraps the event in a greeting.

#[macro_use]
mod jobicolet;

use jobicolet::{log, Failure, Level};

fn handle(event: &[u8]) -> Result<Vec<u8>, Failure> {
    let event = std::str::from_utf8(event).map_err(|error| Failure {
        code: 1,
        message: error.to_string(),
    })?;
    log(Level::Info, "greeting somebody");
    if event.contains("\"fail\": true") {
        return Err(Failure {
            code: 7,
            message: "asked to fail".to_string(),
        });
    }
    Ok(format!("{{\"greeting\": \"Hello from Rust\", \"event\": {}}}", event).into_bytes())
}

jobicolet!(handle);
