//! Running a hook program of a package: argument vector, environment, time limit, output to the log.
//!
//! A hook is never run through a shell and inherits nothing of the site's environment. It gets its own
//! process group; when its time is over, the whole group is ended.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use domain::servicing::package::Hook;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio_util::sync::CancellationToken;

/// Lines of output that are logged; the rest is counted.
const OUTPUT_LINES_MAX: usize = 2_000;
/// Characters of one line that are logged.
const LINE_CHARACTERS_MAX: usize = 2_000;
/// Between the polite end of a process group and the forced one.
const GRACE: Duration = Duration::from_secs(5);
/// How long output is read after the program has ended.
const DRAIN: Duration = Duration::from_secs(1);

/// What every hook is told beside its own environment.
#[derive(Debug, Clone)]
pub struct HookContext {
    /// The tree the program is part of; also its working directory.
    pub tree: PathBuf,
    /// Variables `TIDEGATE_…`.
    pub variables: Vec<(String, String)>,
}

/// Why a hook did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// It could not be started.
    #[error("the program {program} could not be started")]
    NotStarted {
        /// Path in the payload.
        program: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The user to run as does not exist here.
    #[error(
        "the program {program} is to run as user {user:?}, which this host does not have; create the user, then retry"
    )]
    NoSuchUser {
        /// Path in the payload.
        program: String,
        /// User name.
        user: String,
    },
    /// It ended with another code than 0.
    #[error("the program {program} ended with {status}; last output: {last_output}")]
    Failed {
        /// Path in the payload.
        program: String,
        /// Exit code or signal.
        status: String,
        /// Its last line.
        last_output: String,
    },
    /// It took too long and was ended.
    #[error(
        "the program {program} was ended after its time limit of {limit_s} s; last output: {last_output}"
    )]
    TimedOut {
        /// Path in the payload.
        program: String,
        /// Limit in seconds.
        limit_s: u32,
        /// Its last line.
        last_output: String,
    },
    /// The site is stopping; the hook was ended and will be run again.
    #[error("the program {program} was ended because the site is stopping; it runs again when the site does")]
    Stopped {
        /// Path in the payload.
        program: String,
    },
}

/// Runs a hook to its end. Its output is logged line by line.
pub async fn run(hook: &Hook, context: &HookContext, stop: &CancellationToken) -> Result<(), HookError> {
    let program = hook.program.clone();
    let mut command = tokio::process::Command::new(context.tree.join(&hook.program));
    command
        .args(&hook.args)
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("LANG", "C.UTF-8")
        .envs(hook.env.iter())
        .envs(context.variables.iter().map(|(name, value)| (name, value)))
        .current_dir(&context.tree)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(user) = &hook.run_as {
        let (uid, gid) = user_ids(Path::new("/etc/passwd"), user).ok_or_else(|| HookError::NoSuchUser {
            program: program.clone(),
            user: user.clone(),
        })?;
        command.uid(uid).gid(gid);
    }
    tracing::info!(
        "running {program} {:?}, time limit {} s",
        hook.args,
        hook.time_limit_s
    );
    let mut child = command.spawn().map_err(|source| HookError::NotStarted {
        program: program.clone(),
        source,
    })?;
    let group = child.id();
    let mut out = child.stdout.take().map(reader);
    let mut err = child.stderr.take().map(reader);
    let mut last_output = String::from("none");
    let mut complained = false;
    let mut lines = 0;
    let limit = tokio::time::sleep(Duration::from_secs(u64::from(hook.time_limit_s)));
    tokio::pin!(limit);
    let mut status = None;
    let ended = loop {
        let line = tokio::select! {
            line = next_line(&mut out), if out.is_some() => line.map(|line| (line, false)),
            line = next_line(&mut err), if err.is_some() => line.map(|line| (line, true)),
            ended = child.wait(), if status.is_none() => {
                status = Some(ended);
                // The rest of the output follows at once, unless a background process keeps the pipes open.
                limit.as_mut().reset(tokio::time::Instant::now() + DRAIN);
                None
            }
            () = &mut limit => break status.take().map_or(Ended::TimedOut, Ended::Status),
            () = stop.cancelled(), if status.is_none() => break Ended::Stopped,
        };
        if let Some((line, is_error)) = line {
            lines += 1;
            if lines <= OUTPUT_LINES_MAX {
                tracing::info!("{program}: {line}");
            }
            // What a program says last on its error output tells more than what it says elsewhere.
            if is_error || !complained {
                last_output = line;
            }
            complained |= is_error;
        }
        if out.is_none() && err.is_none() && status.is_some() {
            break status.take().map_or(Ended::TimedOut, Ended::Status);
        }
    };
    if lines > OUTPUT_LINES_MAX {
        tracing::info!(
            "{program}: {} more lines of output are not logged",
            lines - OUTPUT_LINES_MAX
        );
    }
    match ended {
        Ended::Status(Ok(status)) if status.success() => {
            end_group(group, rustix::process::Signal::TERM);
            Ok(())
        }
        Ended::Status(Ok(status)) => {
            end_group(group, rustix::process::Signal::KILL);
            Err(HookError::Failed {
                program,
                status: status.to_string(),
                last_output,
            })
        }
        Ended::Status(Err(source)) => Err(HookError::NotStarted { program, source }),
        Ended::TimedOut => {
            end(&mut child, group).await;
            Err(HookError::TimedOut {
                program,
                limit_s: hook.time_limit_s,
                last_output,
            })
        }
        Ended::Stopped => {
            end(&mut child, group).await;
            Err(HookError::Stopped { program })
        }
    }
}

enum Ended {
    Status(io::Result<std::process::ExitStatus>),
    TimedOut,
    Stopped,
}

type Lines = tokio::io::Split<BufReader<Box<dyn AsyncRead + Send + Unpin>>>;

fn reader(stream: impl AsyncRead + Send + Unpin + 'static) -> Lines {
    // A line without end must not fill the memory: cut the stream at a generous total.
    let bounded = tokio::io::AsyncReadExt::take(stream, (OUTPUT_LINES_MAX * LINE_CHARACTERS_MAX * 4) as u64);
    BufReader::new(Box::new(bounded) as Box<dyn AsyncRead + Send + Unpin>).split(b'\n')
}

/// The next line; at the end of the stream, or when it fails, the stream is dropped.
async fn next_line(stream: &mut Option<Lines>) -> Option<String> {
    let lines = stream.as_mut()?;
    match lines.next_segment().await {
        Ok(Some(bytes)) => {
            let text = String::from_utf8_lossy(&bytes);
            Some(
                text.trim_end()
                    .chars()
                    .map(|c| if c.is_control() { ' ' } else { c })
                    .take(LINE_CHARACTERS_MAX)
                    .collect(),
            )
        }
        Ok(None) | Err(_) => {
            *stream = None;
            None
        }
    }
}

async fn end(child: &mut tokio::process::Child, group: Option<u32>) {
    end_group(group, rustix::process::Signal::TERM);
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        tracing::warn!(
            "the program did not end within {} s, it is killed",
            GRACE.as_secs()
        );
    }
    end_group(group, rustix::process::Signal::KILL);
    if let Err(failure) = child.wait().await {
        tracing::warn!("waiting for the program failed: {failure}");
    }
}

fn end_group(group: Option<u32>, signal: rustix::process::Signal) {
    let pid = group
        .and_then(|id| i32::try_from(id).ok())
        .and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // No such group: everything in it has ended already.
        let _ = rustix::process::kill_process_group(pid, signal);
    }
}

/// User and group id from a passwd file.
fn user_ids(passwd: &Path, user: &str) -> Option<(u32, u32)> {
    let text = std::fs::read_to_string(passwd).ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let matches = fields.next() == Some(user);
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        matches.then_some((uid, gid))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(folder: &Path, script: &str, time_limit_s: u32) -> Hook {
        use std::os::unix::fs::PermissionsExt;
        let path = folder.join("hook.sh");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Hook {
            program: "hook.sh".into(),
            args: vec!["one two".into()],
            env: [("SETTING".to_owned(), "value".to_owned())].into(),
            time_limit_s,
            run_as: None,
        }
    }

    async fn run_script(script: &str, time_limit_s: u32) -> (tempfile::TempDir, Result<(), HookError>) {
        let folder = tempfile::tempdir().unwrap();
        let hook = hook(folder.path(), script, time_limit_s);
        let context = HookContext {
            tree: folder.path().to_owned(),
            variables: vec![("TIDEGATE_VERSION".into(), "5.00.9100.1000".into())],
        };
        let result = run(&hook, &context, &CancellationToken::new()).await;
        (folder, result)
    }

    #[tokio::test]
    async fn arguments_and_environment_arrive_unharmed() {
        let (folder, result) = run_script(
            "printf '%s|%s|%s|%s' \"$1\" \"$SETTING\" \"$TIDEGATE_VERSION\" \"$HOME\" > out",
            20,
        )
        .await;
        result.unwrap();
        assert_eq!(
            std::fs::read_to_string(folder.path().join("out")).unwrap(),
            "one two|value|5.00.9100.1000|"
        );
    }

    #[tokio::test]
    async fn a_failure_tells_code_and_last_output() {
        let (_folder, result) = run_script("echo first; echo the disk is on fire >&2; exit 3", 20).await;
        let text = result.unwrap_err().to_string();
        assert!(
            text.contains("exit status: 3") && text.contains("the disk is on fire"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_hook_that_hangs_is_ended_with_all_it_started() {
        let (_folder, result) = run_script("sleep 1000 & sleep 1000", 1).await;
        assert!(
            matches!(result, Err(HookError::TimedOut { limit_s: 1, .. })),
            "{result:?}"
        );
    }

    #[tokio::test]
    async fn an_unknown_user_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut hook = hook(folder.path(), "true", 5);
        hook.run_as = Some("nobody-of-this-name".into());
        let context = HookContext {
            tree: folder.path().to_owned(),
            variables: vec![],
        };
        let result = run(&hook, &context, &CancellationToken::new()).await;
        assert!(result.unwrap_err().to_string().contains("nobody-of-this-name"));
    }
}
