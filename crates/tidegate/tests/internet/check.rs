//! Runs `tidegate check` and reads what it says.

use std::process::{Command, Stdio};

use serde_json::Value;

/// What a check said.
pub struct Said {
    pub report: Value,
    pub code: i32,
    /// Everything that was printed.
    pub printed: String,
}

impl Said {
    /// The only result.
    pub fn only(&self) -> &Value {
        let results = self.report["results"].as_array().unwrap();
        assert_eq!(results.len(), 1, "{}", self.printed);
        &results[0]
    }

    /// Code of the only result's fault, or `passed`.
    pub fn fault(&self) -> &str {
        let only = self.only();
        only["fault"]["code"]
            .as_str()
            .unwrap_or(only["result"].as_str().unwrap())
    }

    /// Evidence of the only result's fault.
    pub fn evidence(&self) -> &str {
        self.only()["fault"]["evidence"].as_str().unwrap_or_default()
    }

    /// Results of the phases, in order.
    pub fn phases(&self) -> Vec<String> {
        let phases = self.only()["phases"].as_array().unwrap();
        phases
            .iter()
            .map(|phase| phase["result"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// `tidegate check --json` with a short patience.
pub fn check(arguments: &[&str]) -> Said {
    check_with(arguments, &[], None)
}

/// The same with variables of the environment and standard input.
pub fn check_with(arguments: &[&str], environment: &[(&str, &str)], input: Option<&str>) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command
        .env_clear()
        .envs(environment.iter().copied())
        .env("TZ", "UTC")
        .env("TIDEGATE_DIR", "/nonexistent")
        .args(["check", "--json", "--timeout", "2s"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A program that does not read its input may have gone already.
    let _ = std::io::Write::write_all(&mut stdin, input.unwrap_or_default().as_bytes());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let report = serde_json::from_str(&text).unwrap_or_else(|failure| panic!("{failure}: {text}{errors}"));
    Said {
        report,
        code: output.status.code().unwrap(),
        printed: format!("{text}{errors}"),
    }
}
