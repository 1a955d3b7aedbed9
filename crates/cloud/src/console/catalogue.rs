//! The catalogue, and one package: what it is, to whom it is offered, and how that changes.

use axum::Form;
use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Redirect, Response};
use domain::servicing::package::{PackageGuid, PackageRecord};
use http::StatusCode;
use maud::{Markup, html};
use pages::parts::{badge, table};
use pages::t;
use serde::Deserialize;
use store::intake::Fleet;

use super::page::{ENTRY_HEADS, Page, done, refusal};
use crate::error::CloudError;
use crate::files::ServiceDir;
use crate::history::{Did, Entry, Outcome};
use crate::publish::Rollout;

/// Packages on one page.
const ROWS: usize = 100;
/// Entries of the history below a package.
const ENTRIES: usize = 30;
/// Longest word to search for, in bytes.
const SEARCH_BYTES_MAX: usize = 200;

pub(super) async fn home(_page: Page) -> Response {
    Redirect::to("/catalogue").into_response()
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    q: String,
    #[serde(default)]
    from: usize,
}

pub(super) async fn list(page: Page, Query(wanted): Query<Wanted>) -> Response {
    let mut all = match page.console.blocking(crate::publish::packages).await {
        Ok(all) => all,
        Err(failure) => return page.problem(&failure),
    };
    all.reverse();
    let total = all.len();
    let word: String = wanted
        .q
        .chars()
        .take(SEARCH_BYTES_MAX)
        .collect::<String>()
        .to_lowercase();
    all.retain(|record| matches(record, &word));
    let found = all.len();
    let rows = all
        .iter()
        .skip(wanted.from)
        .take(ROWS)
        .map(|record| {
            html! {
                td { a href={ "/packages/" (record.guid) } { (record.name()) } }
                td class="nowrap" { (record.full_version) } td { (record.update_type.as_str()) }
                td { (page.time(record.released)) } td { (standing(record)) }
                td { (record.rollout_when.as_deref().unwrap_or_default()) }
                td class="number" { (size(record.payload.download_bytes)) }
            }
        })
        .collect();
    let other = |from: usize, text: &str| {
        let query: String = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("q", &wanted.q)
            .append_pair("from", &from.to_string())
            .finish();
        html! { a class="button plain" href={ "/catalogue?" (query) } { (text) } }
    };
    let heads = [
        t("Name"),
        t("Version"),
        t("Type"),
        t("Released"),
        t("Offered to"),
        t("Where"),
        t("Cold download"),
    ];
    page.show(
        t("Catalogue"),
        &html! {
            form class="filters" action="/catalogue" role="search" {
                label { (t("Name, version or GUID")) input type="search" name="q" value=(wanted.q) maxlength=(SEARCH_BYTES_MAX); }
                button { (t("Search")) }
            }
            p class="faint" { (found) " of " (total) " packages, the newest first" }
            (table(t("Packages of the feed"), &heads, rows, t("Nothing is published that matches.")))
            div class="actions" {
                @if wanted.from > 0 { (other(wanted.from.saturating_sub(ROWS), t("Newer"))) }
                @if found > wanted.from.saturating_add(ROWS) { (other(wanted.from + ROWS, t("Older"))) }
            }
        },
    )
}

fn matches(record: &PackageRecord, word: &str) -> bool {
    word.is_empty()
        || record.name().to_lowercase().contains(word)
        || record.full_version.to_string().contains(word)
        || record.guid.to_string().to_lowercase().contains(word)
}

fn standing(record: &PackageRecord) -> Markup {
    match (&record.withdrawn, record.rollout_percent) {
        (Some(_), _) => badge("bad", "withdrawn"),
        (None, 0) => badge("warn", "nobody new"),
        (None, 100) => badge("good", "100 %"),
        (None, percent) => badge("info", &format!("{percent} %")),
    }
}

/// One package with its history, and what of the fleet has its version.
struct Shown {
    record: PackageRecord,
    entries: Vec<Entry>,
    fleet: Option<Fleet>,
}

fn no_guid() -> Response {
    refusal(StatusCode::NOT_FOUND, t("This is no GUID of a package."))
}

async fn find(page: &Page, guid: PackageGuid) -> Result<Shown, CloudError> {
    let (record, entries) = page
        .console
        .blocking(move |dir| {
            let record = crate::publish::package(dir, guid)?;
            let entries = crate::history::history(&ServiceDir::new(dir), Some(guid))?;
            Ok((record, entries))
        })
        .await?;
    let fleet = match &page.console.intake {
        Some(intake) => Some(intake.fleet(super::views::since(page.now)).await?),
        None => None,
    };
    Ok(Shown {
        record,
        entries,
        fleet,
    })
}

pub(super) async fn one(page: Page, Path(guid): Path<String>) -> Response {
    let Ok(guid) = guid.parse() else {
        return no_guid();
    };
    let shown = match find(&page, guid).await {
        Ok(shown) => shown,
        Err(failure) => return page.problem(&failure),
    };
    let record = &shown.record;
    let rows = shown
        .entries
        .iter()
        .take(ENTRIES)
        .map(|entry| page.entry(entry))
        .collect();
    page.show(
        record.name(),
        &html! {
            dl {
                dt { "GUID" } dd { (record.guid) }
                dt { (t("Version")) } dd { (record.full_version) }
                dt { (t("Type")) } dd { (record.update_type.as_str()) }
                dt { (t("Released")) } dd { (page.time(record.released)) }
                dt { (t("Rings")) } dd { @if record.rings.is_empty() { (t("all")) } @else { (record.rings.join(", ")) } }
                dt { (t("Payload")) } dd { (size(record.payload.bytes)) " in " (record.payload.files) " files; " (size(record.payload.download_bytes)) " for a cold download" }
                @for delta in &record.payload.deltas {
                    dt { (t("Delta")) } dd { (size(delta.bytes)) " from " @match delta.base { Some(base) => a href={ "/packages/" (base) } { (base) }, None => "nothing" } }
                }
                dt { (t("Offered to")) } dd { (standing(record)) @if let Some(rule) = &record.rollout_when { ", where " code { (rule) } } }
                @if let Some(reason) = &record.withdrawn { dt { (t("Withdrawn")) } dd { (reason) } }
                @if let Some(fleet) = &shown.fleet { dt { (t("In use")) } dd { (in_use(record, fleet)) } }
            }
            @if page.may_steer() && record.withdrawn.is_none() { (steering(&page, &shown)) }
            h2 { (t("History")) }
            (table(t("Changes of this package"), &ENTRY_HEADS, rows, t("Nothing was changed since this feed keeps a history.")))
        },
    )
}

/// How many hierarchies reported this version; reports give its first three parts.
fn in_use(record: &PackageRecord, fleet: &Fleet) -> Markup {
    let version = record.full_version.to_string();
    let parts: Vec<&str> = version.split('.').take(3).collect();
    let version = parts.join(".");
    let rows = fleet.by.get("version").map_or(&[][..], Vec::as_slice);
    let count: u64 = rows
        .iter()
        .filter(|(word, _)| *word == version || word.starts_with(&format!("{version}.")))
        .map(|(_, count)| count)
        .sum();
    html! { (count) " of " (fleet.hierarchies) " hierarchies that reported within " (super::views::DAYS) " days are at " (version) }
}

/// The share from before a halt that is still on.
fn halted_from(shown: &Shown) -> Option<u8> {
    let last = shown
        .entries
        .iter()
        .find(|entry| entry.did == Did::RolledOut && entry.outcome == Outcome::Done)?;
    match last.share {
        Some((before, 0)) if before > 0 && shown.record.rollout_percent == 0 => Some(before),
        _ => None,
    }
}

fn steering(page: &Page, shown: &Shown) -> Markup {
    let record = &shown.record;
    let at = |what: &str| format!("/packages/{}/{what}", record.guid);
    html! {
        h2 { (t("Roll-out")) }
        p class="faint" { (t("Share and rule are signed with the package; each site decides by them at its next check. A hierarchy that was offered it stays in when the share grows.")) }
        div class="actions" {
            @if record.rollout_percent > 0 {
                form class="inline" method="post" action=(at("halt")) { (page.csrf()) button class="danger" { (t("Halt the roll-out")) } }
            }
            @if let Some(before) = halted_from(shown) {
                form class="inline" method="post" action=(at("roll-out")) {
                    (page.csrf()) input type="hidden" name="percent" value=(before);
                    input type="hidden" name="rule" value=(record.rollout_when.as_deref().unwrap_or_default());
                    button { (t("Go on with ")) (before) " %" }
                }
            }
        }
        form method="post" action=(at("roll-out")) {
            (page.csrf())
            div class="field" { label for="percent" { (t("Share of hierarchies, percent")) }
                input id="percent" name="percent" type="number" min="0" max="100" required value=(record.rollout_percent); }
            div class="field" { label for="rule" { (t("Only where this rule holds")) }
                input id="rule" name="rule" size="50" value=(record.rollout_when.as_deref().unwrap_or_default()) aria-describedby="rule-hint";
                span class="faint" id="rule-hint" { (t("Over the facts of a site, such as ")) code { "inventory.devices < 5000" } ". Empty: sites of every kind." } }
            button { (t("Sign and publish")) }
        }
        details {
            summary { (t("Take this package back")) }
            p { (t("It cannot be offered again: a correction is a new package. Sites stop offering it and say why.")) }
            form method="post" action=(at("withdraw")) {
                (page.csrf())
                div class="field" { label for="reason" { (t("Why, for administrators")) } input id="reason" name="reason" size="50" maxlength="1000" required; }
                button class="danger" { (t("Withdraw")) }
            }
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Share {
    percent: u8,
    #[serde(default)]
    rule: String,
}

pub(super) async fn roll_out(page: Page, Path(guid): Path<String>, Form(share): Form<Share>) -> Response {
    let rule = share.rule.trim();
    let rollout = Rollout {
        percent: Some(share.percent),
        when: Some((!rule.is_empty()).then(|| rule.to_owned())),
    };
    change(page, &guid, rollout).await
}

/// Offers it to nobody who was not offered it yet.
pub(super) async fn halt(page: Page, Path(guid): Path<String>) -> Response {
    change(page, &guid, Rollout::share(0)).await
}

async fn change(page: Page, guid: &str, rollout: Rollout) -> Response {
    let Ok(guid) = guid.parse() else {
        return no_guid();
    };
    let changed = page
        .console
        .change(&page.author(), move |dir, stamp| {
            crate::publish::rollout(dir, guid, &rollout, stamp)
        })
        .await;
    match changed {
        Ok(_) => done(&format!("/packages/{guid}")),
        Err(failure) => page.problem(&failure),
    }
}

#[derive(Deserialize)]
pub(super) struct Reason {
    reason: String,
}

pub(super) async fn withdraw(page: Page, Path(guid): Path<String>, Form(given): Form<Reason>) -> Response {
    let Ok(guid) = guid.parse() else {
        return no_guid();
    };
    let changed = page
        .console
        .change(&page.author(), move |dir, stamp| {
            crate::publish::withdraw(dir, guid, &given.reason, stamp)
        })
        .await;
    match changed {
        Ok(_) => done(&format!("/packages/{guid}")),
        Err(failure) => page.problem(&failure),
    }
}

/// Bytes in the largest unit that leaves a number of three digits or so.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{value:.1} {}", UNITS[unit]),
    }
}
