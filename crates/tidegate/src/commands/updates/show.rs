//! Update packages as people read them; every function prints the API's type with `--json`.

use protocol::api::{
    DeliveryInfo, DeliveryPart, FeatureInfo, HistoryEntry, PrereqResult, SiteUpdateStatus, StateInfo,
    SubStageInfo, UpdateDetail, UpdateSummary, WhyReport,
};

use crate::failure::Failure;
use crate::output::{Output, Style};
use crate::table::{Cell, Table};
use crate::words;

/// The first group of a GUID, enough to name a package on the command line.
pub fn short(guid: &str) -> &str {
    guid.get(..8).unwrap_or(guid)
}

/// As short as [`short`], but longer where another package begins the same.
fn unique<'a>(guid: &'a str, updates: &[UpdateSummary]) -> &'a str {
    [8, 13, 18, 23]
        .into_iter()
        .filter_map(|length| guid.get(..length))
        .find(|beginning| {
            updates
                .iter()
                .filter(|other| other.guid.starts_with(beginning))
                .count()
                == 1
        })
        .unwrap_or(guid)
}

/// How a state looks: red where somebody must act, yellow where one waits, green where all is well.
fn state_style(state: &StateInfo) -> Style {
    use domain::servicing::state::PackageState as S;
    match S::from_code(state.code) {
        Some(S::DownloadSuccess | S::PrereqSuccess | S::InstallSuccess) => Style::Good,
        Some(
            S::DownloadFailed
            | S::ContentReplicationFailed
            | S::PrereqError
            | S::InstallFailed
            | S::ApplicabilityFailed,
        ) => Style::Bad,
        Some(
            S::PrereqWarning
            | S::InstallPendingReboot
            | S::InstallWaitingServiceWindow
            | S::InstallWaitingParent,
        ) => Style::Warning,
        Some(S::ApplicabilityHide | S::ApplicabilityNa) => Style::Faint,
        Some(
            S::Unknown
            | S::Enabled
            | S::ApplicabilityChecking
            | S::ApplicabilitySuccess
            | S::DownloadInProgress
            | S::ContentReplicating
            | S::ContentReplicationSuccess
            | S::PrereqInProgress
            | S::InstallInProgress,
        )
        | None => Style::Plain,
    }
}

fn state_cell(update: &UpdateSummary) -> Cell {
    let label = match &update.transfer {
        Some(transfer) if transfer.total > 0 => {
            format!(
                "{} {} %",
                update.state.label,
                transfer.done.saturating_mul(100) / transfer.total
            )
        }
        _ => update.state.label.clone(),
    };
    Cell::styled(state_style(&update.state), label)
}

/// The reason line with everything a person who waits wants to know.
fn reason(update: &UpdateSummary, output: &Output) -> String {
    let mut text = update.reason.clone();
    if let Some(failure) = update
        .failure
        .as_ref()
        .filter(|failure| !text.contains(failure.as_str()))
    {
        join(&mut text, failure);
    }
    if let Some(at) = update.next_attempt_at {
        join(&mut text, &format!("next try {}", output.when(at)));
    }
    if let Some(other) = &update.blocked_by {
        join(&mut text, &format!("blocked by package {}", short(other)));
    }
    text
}

fn join(text: &mut String, more: &str) {
    if !text.is_empty() {
        text.push_str("; ");
    }
    text.push_str(more);
}

/// `updates list`
pub fn list(output: &Output, updates: &[UpdateSummary], all: bool) -> Result<(), Failure> {
    if output.json {
        return output.json(&updates);
    }
    if updates.is_empty() {
        output.note(if all {
            "the feed has no packages, or was not read yet; check now with `tidegate updates check --wait`"
        } else {
            "nothing is offered; see hidden packages with --all, or check now with `tidegate updates check --wait`"
        });
        return Ok(());
    }
    let mut table = Table::new(&[
        "GUID", "NAME", "VERSION", "TYPE", "STATE", "SINCE", "SIZE", "REASON",
    ]);
    for update in updates {
        table.row([
            unique(&update.guid, updates).into(),
            update.name.as_str().into(),
            update.full_version.as_str().into(),
            update.update_type.as_str().into(),
            state_cell(update),
            words::relative(update.since, output.now()).into(),
            words::bytes(update.download_bytes).into(),
            reason(update, output).into(),
        ]);
    }
    table.right(6);
    table.print(output)
}

/// `updates show`
pub fn detail(output: &Output, update: &UpdateDetail) -> Result<(), Failure> {
    if output.json {
        return output.json(update);
    }
    let summary = &update.summary;
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let listed = |list: &[String], none: &str| {
        if list.is_empty() {
            none.to_owned()
        } else {
            list.join(", ")
        }
    };
    let mut table = Table::of_values();
    table.value("Name", Cell::styled(Style::Bold, &summary.name));
    table.value("GUID", summary.guid.as_str());
    table.value(
        "Version",
        format!("{} ({})", summary.full_version, summary.update_type),
    );
    table.value(
        "State",
        Cell::styled(state_style(&summary.state), &summary.state.label),
    );
    table.value(
        "State code",
        format!("{} {}", summary.state.code, summary.state.name),
    );
    table.value("Since", output.when(summary.since));
    table.value("Reason", reason(summary, output));
    table.value("Description", update.description.as_str());
    table.value("Released", output.when(summary.released));
    if let Some(why) = &update.withdrawn {
        table.value("Withdrawn", Cell::styled(Style::Bad, why));
    }
    table.value(
        "For site versions",
        format!(
            "{} to {}",
            or_dash(&update.min_site_version),
            or_dash(&update.max_site_version)
        ),
    );
    table.value("Client version", or_dash(&update.client_version));
    table.value("Touches", listed(&update.impact, "-"));
    table.value("Needs first", or_dash(&update.prerequisite));
    table.value("Supersedes", listed(&update.supersedes, "-"));
    table.value(
        "Offered to",
        format!(
            "{}, {} %{}",
            listed(&update.rings, "everybody"),
            update.rollout_percent,
            update
                .rollout_when
                .as_ref()
                .map_or(String::new(), |rule| format!(", where {rule}"))
        ),
    );
    table.value("Applicability rule", or_dash(&update.applicability));
    table.value(
        "Content",
        format!(
            "{} in {}, at most {} to download",
            words::bytes(summary.bytes),
            words::counted(update.files, "file", "files"),
            words::bytes(summary.download_bytes)
        ),
    );
    table.value("Texts in", listed(&update.locales, "-"));
    table.value("More", or_dash(&update.more_info));
    if update.rolled_back {
        table.value(
            "Rolled back",
            Cell::styled(Style::Warning, "yes; it is not tried again by itself"),
        );
    }
    table.print(output)?;
    redistributables(output, update)?;
    if !update.features.is_empty() {
        section(output, "Features")?;
        features(output, &update.features)?;
    }
    if !update.history.is_empty() {
        section(output, "History")?;
        history(output, &update.history)?;
    }
    if let Some(eula) = &update.eula {
        section(output, "Licence terms")?;
        output.line(words::harmless(eula))?;
    }
    Ok(())
}

fn section(output: &Output, title: &str) -> Result<(), Failure> {
    output.line(format_args!("\n{}", output.styled(Style::Bold, title)))
}

fn redistributables(output: &Output, update: &UpdateDetail) -> Result<(), Failure> {
    if update.redistributables.is_empty() {
        return Ok(());
    }
    section(output, "Redistributables")?;
    let mut table = Table::new(&["FILE", "SIZE", "VERDICT", "SHA-256", "DETAIL"]);
    for file in &update.redistributables {
        let style = match file.verdict.as_str() {
            "verified" => Style::Good,
            "failed" => Style::Bad,
            _ => Style::Plain,
        };
        table.row([
            file.name.as_str().into(),
            words::bytes(file.length).into(),
            Cell::styled(style, &file.verdict),
            file.sha256.get(..16).unwrap_or(&file.sha256).into(),
            file.detail.as_str().into(),
        ]);
    }
    table.right(1);
    table.print(output)
}

/// `updates show --plan`
pub fn plan(output: &Output, plan: &DeliveryInfo) -> Result<(), Failure> {
    if output.json {
        return output.json(plan);
    }
    let mut table = Table::new(&["FROM", "FILES", "THEIR BYTES", "FETCHED"]);
    for part in &plan.parts {
        match part {
            DeliveryPart::Here { files, bytes } => {
                table.row([
                    "the content library".into(),
                    (*files).into(),
                    words::bytes(*bytes).into(),
                    "-".into(),
                ]);
            }
            DeliveryPart::Delta {
                base,
                files,
                bytes,
                fetched,
            } => {
                let from = match base {
                    Some(base) => format!("delta from {}", short(base)),
                    None => "delta from nothing".to_owned(),
                };
                table.row([
                    from.into(),
                    (*files).into(),
                    words::bytes(*bytes).into(),
                    words::bytes(*fetched).into(),
                ]);
            }
            DeliveryPart::Blocks { ranges, fetched } => {
                let from = format!("blocks, {}", words::counted(*ranges, "range", "ranges"));
                table.row([from.into(), "-".into(), "-".into(), words::bytes(*fetched).into()]);
            }
        }
    }
    for column in 1..4 {
        table.right(column);
    }
    table.print(output)?;
    output.line(format_args!(
        "{} will be fetched; a site with nothing fetches {}",
        output.styled(Style::Bold, words::bytes(plan.fetched)),
        words::bytes(plan.cold)
    ))
}

/// `updates why`
pub fn why(output: &Output, report: &WhyReport) -> Result<(), Failure> {
    if output.json {
        return output.json(report);
    }
    output.line(format_args!(
        "{} ({}): {}",
        output.styled(Style::Bold, words::harmless(&report.name)),
        report.guid,
        output.styled(state_style(&report.state), &report.state.label)
    ))?;
    if !report.reason.is_empty() {
        output.line(words::harmless(&report.reason))?;
    }
    let mut table = Table::new(&["OUTCOME", "CONDITION", "EXPECTED", "ACTUAL"]);
    for condition in &report.conditions {
        let (style, outcome) = match condition.outcome.as_str() {
            "met" => (Style::Good, "met"),
            "not-met" => (Style::Bad, "NOT MET"),
            other => (
                Style::Warning,
                if other == "could-not-evaluate" {
                    "UNKNOWN"
                } else {
                    other
                },
            ),
        };
        table.row([
            Cell::styled(style, outcome),
            condition.condition.as_str().into(),
            condition.expected.as_str().into(),
            condition.actual.as_str().into(),
        ]);
    }
    if table.is_empty() {
        output.note("it has not been evaluated yet");
        return Ok(());
    }
    table.print(output)
}

/// `updates history`
pub fn history(output: &Output, entries: &[HistoryEntry]) -> Result<(), Failure> {
    if output.json {
        return output.json(&entries);
    }
    if entries.is_empty() {
        output.note("nothing has happened yet");
        return Ok(());
    }
    let mut table = Table::new(&["TIME", "GUID", "NAME", "STATE", "WHY"]);
    for entry in entries {
        table.row([
            words::local(entry.time, output.now(), &output.zone).into(),
            short(&entry.guid).into(),
            entry.name.as_str().into(),
            Cell::styled(state_style(&entry.state), &entry.state.label),
            entry.reason.as_str().into(),
        ]);
    }
    table.print(output)
}

/// `updates status`
pub fn status(output: &Output, statuses: &[SiteUpdateStatus]) -> Result<(), Failure> {
    if output.json {
        return output.json(&statuses);
    }
    if statuses.is_empty() {
        output.note("no package was started; install one with `tidegate updates install UPDATE`");
        return Ok(());
    }
    for (index, status) in statuses.iter().enumerate() {
        if index > 0 {
            output.line("")?;
        }
        one_status(output, status)?;
    }
    Ok(())
}

fn one_status(output: &Output, status: &SiteUpdateStatus) -> Result<(), Failure> {
    let update = &status.update;
    output.line(format_args!(
        "{} on site {}: {} since {}",
        output.styled(Style::Bold, words::harmless(&update.name)),
        status.site_code,
        output.styled(state_style(&update.state), &update.state.label),
        output.when(update.since)
    ))?;
    if !status.reason.is_empty() {
        output.line(words::harmless(&status.reason))?;
    }
    sub_stages(output, &status.sub_stages)?;
    prerequisites(output, &status.prerequisites)
}

fn sub_stages(output: &Output, stages: &[SubStageInfo]) -> Result<(), Failure> {
    if stages.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&["PHASE", "STEP", "STATE", "TIME", "DETAIL"]);
    for stage in stages {
        let style = match stage.state.as_str() {
            "success" => Style::Good,
            "success with warning" => Style::Warning,
            "failed" => Style::Bad,
            _ => Style::Plain,
        };
        let state = if stage.state == "in progress" && stage.progress > 0 {
            format!("{} {} %", stage.state, stage.progress)
        } else {
            stage.state.clone()
        };
        table.row([
            stage.phase.as_str().into(),
            stage.name.as_str().into(),
            Cell::styled(style, state),
            words::local(stage.time, output.now(), &output.zone).into(),
            stage.detail.as_str().into(),
        ]);
    }
    table.print(output)
}

fn prerequisites(output: &Output, results: &[PrereqResult]) -> Result<(), Failure> {
    if results.is_empty() {
        return Ok(());
    }
    section(output, "Prerequisites")?;
    let mut table = Table::new(&["RESULT", "RULE", "CATEGORY", "ROLE", "DETAIL"]);
    for result in results {
        let style = match result.result.as_str() {
            "passed" => Style::Good,
            "warning" => Style::Warning,
            _ => Style::Bad,
        };
        let link = result
            .link
            .as_ref()
            .map_or(String::new(), |link| format!(" ({link})"));
        table.row([
            Cell::styled(style, &result.result),
            result.name.as_str().into(),
            result.category.as_str().into(),
            result.role.as_str().into(),
            format!("{}{link}", result.detail).into(),
        ]);
    }
    table.print(output)
}

/// The end of work that was followed.
pub fn ended(output: &Output, status: &SiteUpdateStatus) -> Result<(), Failure> {
    let update = &status.update;
    output.line(format_args!(
        "{} {}: {}",
        words::harmless(&update.name),
        update.full_version,
        output.styled(state_style(&update.state), &update.state.label)
    ))?;
    prerequisites(output, &status.prerequisites)
}

/// `updates features`
pub fn features(output: &Output, features: &[FeatureInfo]) -> Result<(), Failure> {
    if output.json {
        return output.json(&features);
    }
    if features.is_empty() {
        output.note(
            "no installed package brings optional features; `tidegate updates show` tells what one would bring",
        );
        return Ok(());
    }
    let mut table = Table::new(&["GUID", "FEATURE", "STATE", "PACKAGE", "DESCRIPTION"]);
    for feature in features {
        let (style, state) = match (feature.turned_on, feature.available) {
            (true, true) => (Style::Good, "on"),
            (true, false) => (Style::Warning, "on once installed"),
            (false, true) => (Style::Plain, "off"),
            (false, false) => (Style::Faint, "not installed"),
        };
        let name = if feature.pre_release {
            format!("{} (pre-release)", feature.name)
        } else {
            feature.name.clone()
        };
        table.row([
            feature.guid.as_str().into(),
            name.into(),
            Cell::styled(style, state),
            short(&feature.package).into(),
            feature.description.as_str().into(),
        ]);
    }
    table.print(output)
}
