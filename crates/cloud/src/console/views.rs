//! History, fleet, intake, messages and keys.

use axum::Form;
use axum::extract::Query;
use axum::response::Response;
use feed::publisher::RoleState;
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use pages::parts::{badge, table};
use pages::t;
use protocol::notice::{Notice, NoticeCategory};
use serde::Deserialize;

use super::page::{ENTRY_HEADS, Page, done};
use crate::error::CloudError;
use crate::files::ServiceDir;

/// Days that the fleet is counted over.
pub(super) const DAYS: u32 = 35;
/// Entries of the history on one page.
const ENTRIES: usize = 200;
/// Reports in quarantine that are shown.
const QUARANTINED: u32 = 20;

/// Since when reports count.
pub(super) fn since(now: Timestamp) -> Timestamp {
    let span = SignedDuration::from_hours(24 * i64::from(DAYS));
    now.checked_sub(span).unwrap_or(Timestamp::MIN)
}

#[derive(Deserialize)]
pub(super) struct From {
    #[serde(default)]
    from: usize,
}

pub(super) async fn history(page: Page, Query(wanted): Query<From>) -> Response {
    let read = page
        .console
        .blocking(|dir| crate::history::history(&ServiceDir::new(dir), None))
        .await;
    let entries = match read {
        Ok(entries) => entries,
        Err(failure) => return page.problem(&failure),
    };
    let rows = entries
        .iter()
        .skip(wanted.from)
        .take(ENTRIES)
        .map(|entry| page.entry(entry))
        .collect();
    let other = |from: usize, text: &str| html! { a class="button plain" href={ "/history?from=" (from) } { (text) } };
    page.show(
        t("Publish history"),
        &html! {
            (table(t("Changes of the feed, the newest first"), &ENTRY_HEADS, rows, t("Nothing was changed since this feed keeps a history.")))
            div class="actions" {
                @if wanted.from > 0 { (other(wanted.from.saturating_sub(ENTRIES), t("Newer"))) }
                @if entries.len() > wanted.from.saturating_add(ENTRIES) { (other(wanted.from + ENTRIES, t("Older"))) }
            }
        },
    )
}

fn without_intake() -> Markup {
    html! {
        p { (t("This service takes no usage data. To tell sites where it goes:")) }
        pre { "tidegate cloud config usage" }
    }
}

pub(super) async fn fleet(page: Page) -> Response {
    let Some(intake) = &page.console.intake else {
        return page.show(t("Fleet"), &without_intake());
    };
    match intake.fleet(since(page.now)).await {
        Ok(fleet) => page.show(t("Fleet"), &crate::fleet::distributions(&fleet, DAYS)),
        Err(failure) => page.problem(&failure),
    }
}

pub(super) async fn intake(page: Page) -> Response {
    let title = t("Intake of usage data");
    let Some(intake) = &page.console.intake else {
        return page.show(title, &without_intake());
    };
    let read = async {
        Ok::<_, CloudError>((
            intake.fleet(since(page.now)).await?,
            intake.reports(true, QUARANTINED).await?,
            intake.reports(false, 1).await?,
        ))
    };
    let (fleet, quarantined, newest) = match read.await {
        Ok(read) => read,
        Err(failure) => return page.problem(&failure),
    };
    page.show(
        title,
        &html! {
            p { "The last report came "
                @match newest.first() { Some(report) => { (page.time(report.received_at)) ", " (report.verdict) }, None => "never" } "." }
            (crate::fleet::health(&fleet, &quarantined))
        },
    )
}

pub(super) async fn notices(page: Page) -> Response {
    let read = page
        .console
        .blocking(|dir| Ok((crate::notices(dir)?, crate::service_config(dir)?)))
        .await;
    let (all, config) = match read {
        Ok(read) => read,
        Err(failure) => return page.problem(&failure),
    };
    let rows = all
        .iter()
        .map(|notice| {
            html! {
                td { (badge(if notice.category == NoticeCategory::PreventOrFix { "warn" } else { "info" }, notice.category.title())) }
                td { strong { (notice.title) } br; (notice.body) @if let Some(link) = &notice.link { br; (link) } }
                td { (page.time(notice.published)) @if let Some(until) = notice.until { " until " (page.time(until)) } }
                td {
                    (notice.id)
                    @if page.may_steer() {
                        form class="inline" method="post" action="/notices/retract" {
                            (page.csrf()) input type="hidden" name="id" value=(notice.id);
                            " " button class="plain" { (t("Take back")) }
                        }
                    }
                }
            }
        })
        .collect();
    page.show(
        t("Messages and configuration"),
        &html! {
            p class="faint" { (t("Signed with the feed. Sites show messages to administrators who asked for their category, after their next check.")) }
            (table(t("Messages to administrators"), &[t("For"), t("Message"), t("Shown"), t("Id")], rows, t("There is none.")))
            @if page.may_steer() { (notice_form(&page)) }
            h2 { (t("Configuration of the service")) }
            @match &config {
                None => p class="faint" { (t("The feed says nothing of how the service wants to be used.")) },
                Some(config) => dl {
                    dt { (t("Version")) } dd { (config.version) ", " (page.time(config.published)) }
                    dt { (t("What changed")) } dd { (config.what) }
                    @for mirror in &config.mirrors { dt { (t("Copy of the feed")) } dd { (mirror) } }
                },
            }
            p class="faint" { (t("Changed by ")) code { "tidegate cloud config service" } "; it comes into force at a site when SMS_EXECUTIVE restarts there." }
        },
    )
}

fn notice_form(page: &Page) -> Markup {
    html! {
        details {
            summary { (t("Publish a message")) }
            form method="post" action="/notices/publish" {
                (page.csrf())
                div class="field" { label for="id" { (t("Id")) } input id="id" name="id" required maxlength="40" pattern="[a-z0-9\\-]+" aria-describedby="id-hint";
                    span class="faint" id="id-hint" { (t("Lower-case letters, digits and hyphens. The same id again is the same message, put differently.")) } }
                div class="field" { label for="category" { (t("What it is for")) }
                    select id="category" name="category" { @for category in NoticeCategory::ALL { option value=(category.as_str()) { (category.title()) } } } }
                div class="field" { label for="title" { (t("Title")) } input id="title" name="title" required size="60" maxlength="120"; }
                div class="field" { label for="text" { (t("Text, one paragraph")) } textarea id="text" name="text" required rows="4" cols="60" maxlength="1000" {} }
                div class="field" { label for="link" { (t("Where more is said, https (may be empty)")) } input id="link" name="link" size="60" maxlength="500"; }
                div class="field" { label for="until" { (t("Shown until this day (may be empty)")) } input id="until" name="until" type="date"; }
                button { (t("Sign and publish")) }
            }
        }
    }
}

#[derive(Deserialize)]
pub(super) struct NoticeForm {
    id: String,
    category: String,
    title: String,
    text: String,
    #[serde(default)]
    link: String,
    #[serde(default)]
    until: String,
}

impl NoticeForm {
    fn notice(self, now: Timestamp) -> Result<Notice, CloudError> {
        let invalid = |detail: String| CloudError::Invalid {
            what: "message",
            detail,
        };
        let until = match self.until.trim() {
            "" => None,
            day => {
                let at = day
                    .parse::<jiff::civil::Date>()
                    .and_then(|day| day.tomorrow())
                    .and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC));
                Some(
                    at.map_err(|_| invalid(format!("until: {day:?} is no day")))?
                        .timestamp(),
                )
            }
        };
        let link = self.link.trim();
        Ok(Notice {
            id: self.id,
            category: self.category.parse().map_err(invalid)?,
            title: self.title.trim().to_owned(),
            body: self.text.split_whitespace().collect::<Vec<_>>().join(" "),
            link: (!link.is_empty()).then(|| link.to_owned()),
            published: now,
            until,
        })
    }
}

pub(super) async fn publish_notice(page: Page, Form(form): Form<NoticeForm>) -> Response {
    let notice = match form.notice(page.now) {
        Ok(notice) => notice,
        Err(failure) => return page.problem(&failure),
    };
    let set = page
        .console
        .change(&page.author(), move |dir, stamp| {
            crate::set_notice(dir, notice, stamp)
        })
        .await;
    match set {
        Ok(_) => done("/notices"),
        Err(failure) => page.problem(&failure),
    }
}

#[derive(Deserialize)]
pub(super) struct NoticeId {
    id: String,
}

pub(super) async fn retract_notice(page: Page, Form(given): Form<NoticeId>) -> Response {
    let retracted = page
        .console
        .change(&page.author(), move |dir, stamp| {
            crate::retract_notice(dir, &given.id, stamp)
        })
        .await;
    match retracted {
        Ok(_) => done("/notices"),
        Err(failure) => page.problem(&failure),
    }
}

pub(super) async fn keys(page: Page) -> Response {
    let now = page.now;
    let read = page.console.blocking(move |dir| crate::keys(dir, now)).await;
    let roles = match read {
        Ok(roles) => roles,
        Err(failure) => return page.problem(&failure),
    };
    let rows = roles
        .iter()
        .map(|role| {
            let (class, word) = match role.state {
                RoleState::Valid => ("good", "valid"),
                RoleState::RenewSoon => ("warn", "renew soon"),
                RoleState::Expired => ("bad", "expired"),
            };
            let present = role
                .keys
                .iter()
                .filter(|key| key.authorised && key.present)
                .count();
            html! {
                td { (role.role) } td class="number" { (role.version) }
                td { (badge(class, word)) " " (page.time(role.expires)) }
                td { (role.threshold) " of " (role.keys.iter().filter(|key| key.authorised).count()) }
                td { (present) }
            }
        })
        .collect();
    page.show(
        t("Keys and signatures"),
        &html! {
            (table(t("Roles of the feed"), &[t("Role"), t("Version"), t("Valid until"), t("Signatures needed"), t("Keys on this machine")], rows, t("There is none.")))
            p class="faint" { (t("Timestamp and snapshot are renewed here in time. Keys are changed by ")) code { "tidegate cloud keys" } "." }
        },
    )
}
