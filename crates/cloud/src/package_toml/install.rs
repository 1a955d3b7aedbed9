//! The `[install]` part of a `package.toml`: the switch, the programs around it, the health check.
//!
//! It refuses a plan that does nothing, and programs that are not plain paths inside the payload.

use domain::servicing::package::{HealthCheck, Hook, InstallPlan};

use super::reader::Section;
use super::{LIST_MAX, LONG_MAX, SHORT_MAX};

/// What a hook gets that names no limit.
const TIME_LIMIT_S: u32 = 300;
/// Most programs before, after or for the way back.
const HOOKS_MAX: usize = 100;

/// Every program named, with the place of its mention.
type Programs = Vec<(String, usize)>;

/// Reads `[install]`.
pub(super) fn read(top: &Section<'_, '_>) -> (InstallPlan, Programs) {
    let mut programs = Vec::new();
    let Some(value) = top.required("install") else {
        return (InstallPlan::default(), programs);
    };
    let Some(section) = Section::of(top.reader, value, "[install]".to_owned()) else {
        return (InstallPlan::default(), programs);
    };
    let mut hooks = |key| {
        let sections = section.sections(key, HOOKS_MAX);
        sections
            .into_iter()
            .map(|section| {
                let hook = hook(&section, &mut programs);
                section.finish();
                hook
            })
            .collect()
    };
    let (before, after, rollback): (Vec<Hook>, Vec<Hook>, Vec<Hook>) =
        (hooks("before"), hooks("after"), hooks("rollback"));
    let health = section
        .get("health")
        .and_then(|value| Section::of(section.reader, value, "[install.health]".to_owned()))
        .map(|section| {
            let health = HealthCheck {
                hook: hook(&section, &mut programs),
                attempts: u8::try_from(section.number("attempts", 1..101, 3)).unwrap_or(3),
                interval_s: section.number("interval-s", 0..3_601, 5),
            };
            section.finish();
            health
        });
    let switch = section.truth("switch", false);
    let said = section
        .get("switch")
        .is_none_or(|value| value.get_ref().as_bool().is_some());
    if said && !switch && before.is_empty() && after.is_empty() {
        let message = "this plan installs nothing: set switch = true, or name a program to run";
        section.reader.refuse(section.at(), message);
    }
    section.finish();
    (
        InstallPlan {
            switch,
            before,
            after,
            rollback,
            health,
        },
        programs,
    )
}

fn hook(section: &Section<'_, '_>, programs: &mut Programs) -> Hook {
    let program = section.required_text("program", SHORT_MAX);
    let at = section
        .get("program")
        .map_or(section.at(), |value| value.span().start);
    let plain = program.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if !program.is_empty() && (!plain || program.chars().any(|c| c.is_control() || c == '\\')) {
        let message = format!("{program:?} is no path inside the payload; write it as bin/start");
        section.reader.refuse(at, message);
    } else if !program.is_empty() {
        programs.push((program.clone(), at));
    }
    let env = section.text_map("env", LONG_MAX);
    if env.len() > LIST_MAX
        || env
            .keys()
            .any(|name| name.is_empty() || name.contains(['=', '\0']))
    {
        let at = section
            .get("env")
            .map_or(section.at(), |value| value.span().start);
        section.reader.refuse(
            at,
            "env has a name that is empty or contains \"=\", or too many of them",
        );
    }
    let run_as = section.text("run-as", 32);
    if let Some(user) = &run_as {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if user.is_empty() || !user.chars().all(plain) || user.starts_with('-') {
            let at = section
                .get("run-as")
                .map_or(section.at(), |value| value.span().start);
            section.reader.refuse(at, format!("{user:?} is no user name"));
        }
    }
    Hook {
        program,
        args: section.texts("args", LONG_MAX),
        env,
        time_limit_s: section.number("time-limit-s", 1..86_401, TIME_LIMIT_S),
        run_as,
    }
}
