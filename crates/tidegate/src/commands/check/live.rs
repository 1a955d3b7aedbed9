//! A run that is watched: on a terminal one line per endpoint, its phases filling in.

use std::io::IsTerminal;
use std::time::Duration;

use cloud_client::probe::{Event, Prober, RunInfo};
use domain::connectivity::Plan;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use protocol::connectivity::CheckReport;

use crate::output::{Output, Style};

/// More lines than this scroll away faster than anybody reads.
const LINES_MAX: usize = 40;

/// Runs the plan and shows how it goes.
pub async fn run(prober: &Prober, plan: &Plan, info: &RunInfo, output: &Output) -> CheckReport {
    let silent = output.quiet || output.json || !std::io::stderr().is_terminal();
    if silent {
        return prober.run(plan, info, &|_| {}).await;
    }
    let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(15));
    let plain = |template: &str| {
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
    };
    let lines: Vec<ProgressBar> = plan
        .targets
        .iter()
        .take(LINES_MAX)
        .map(|target| {
            let line = all.add(ProgressBar::new_spinner());
            line.set_style(plain("{spinner} {prefix:40!} {msg}"));
            line.set_prefix(target.address.host_header());
            line.set_message("waiting");
            line.enable_steady_tick(Duration::from_millis(120));
            line
        })
        .collect();
    let total = all.add(ProgressBar::new(plan.targets.len() as u64));
    total.set_style(plain("{pos} of {len} done"));
    let report = prober
        .run(plan, info, &|event| match event {
            Event::Phase(number, phase) => {
                if let Some(line) = lines.get(number) {
                    line.set_message(format!("{} …", phase.as_str()));
                }
            }
            Event::Done(number, report) => {
                total.inc(1);
                if let Some(line) = lines.get(number) {
                    let text = match &report.fault {
                        None => output.styled_note(Style::Good, "passed"),
                        Some(fault) => output.styled_note(Style::Bad, &fault.code),
                    };
                    line.set_message(text);
                    line.disable_steady_tick();
                    line.tick();
                }
            }
        })
        .await;
    // The table that follows has everything.
    let _ = all.clear();
    report
}
