//! Backups: the schedule, the last attempt, what is there.

use axum::Form;
use axum::response::Response;
use domain::access::ObjectClass;
use maud::{Markup, html};
use pages::parts::{badge, field, table};
use protocol::api::{BackupRequest, BackupScheduleInfo, BackupsInfo};
use serde::Deserialize;

use super::catalogue::t;
use super::page::{Page, back};
use crate::words;

pub(super) async fn show(page: Page) -> Response {
    let info = match page.service.backups().await {
        Ok(info) => info,
        Err(failure) => return page.problem(&failure),
    };
    page.show(
        t("Backups"),
        html! {
            (standing(&page, &info))
            (backups(&page, &info))
            @if page.may_change_all(ObjectClass::Site) { (schedule_form(&page, info.schedule.as_ref())) }
            p class="faint" { (t("A backup holds the database, the configuration, trust, secrets and what is installed; content comes from the feed again. On the server, this gives a site back:")) " " code { "tidegate backup restore" } }
        },
    )
}

fn standing(page: &Page, info: &BackupsInfo) -> Markup {
    html! {
        dl {
            dt { (t("Schedule")) }
            dd {
                @match &info.schedule {
                    None => (t("none; backups are made on request only")),
                    Some(schedule) => { (t("every")) " " (schedule.every_days) " " (t("day(s) at")) " " (schedule.at) " " (t("to")) " " code { (schedule.folder) } ", " (schedule.keep) " " (t("are kept")) }
                }
            }
            dt { (t("Next")) }
            dd { @match (&info.requested, info.next) { (Some(folder), _) => { (badge("info", t("asked for"))) " " (folder) }, (None, Some(next)) => (page.clock_time(next)), (None, None) => span class="faint" { (t("never")) } } }
            dt { (t("Last attempt")) }
            dd {
                @match &info.last {
                    None => span class="faint" { (t("none yet")) },
                    Some(last) => {
                        @match &last.failure { None => (badge("good", t("complete"))), Some(_) => (badge("bad", t("failed"))) }
                        " " (page.time(last.at)) " " code { (last.folder) }
                        @if let Some(bytes) = last.bytes { " " (words::bytes(bytes)) }
                        @if let Some(why) = &last.failure { ": " (why) }
                    }
                }
            }
            dt { (t("Last good one")) } dd { (page.time_or(info.last_good, t("none yet"))) }
        }
        @if page.may_change(ObjectClass::Site) && info.schedule.is_some() {
            div class="actions" { (page.button("/backups", t("Back up now"), "", &[])) }
        }
    }
}

fn backups(page: &Page, info: &BackupsInfo) -> Markup {
    let rows = info
        .backups
        .iter()
        .map(|backup| html! { td { (page.clock_time(backup.made)) } td { code { (backup.path) } } })
        .collect();
    html! {
        h2 { (t("What is there")) }
        (table(t("Backups in the folder of the schedule"), &[t("Made"), t("Folder")], rows, t("There is none.")))
    }
}

fn schedule_form(page: &Page, schedule: Option<&BackupScheduleInfo>) -> Markup {
    let (folder, at) = schedule.map_or(("", "02:00"), |schedule| (&schedule.folder, &schedule.at));
    let (every, keep) = schedule.map_or((1, 7), |schedule| (schedule.every_days, schedule.keep));
    html! {
        h2 { (t("Change the schedule")) }
        form method="post" action="/backups/schedule" {
            (page.csrf())
            (field("folder", t("Folder on the site server, an absolute path"), folder, "off"))
            div class="field" { label for="every_days" { (t("Days between two")) } input id="every_days" name="every_days" type="number" min="1" max="31" required value=(every); }
            div class="field" { label for="at" { (t("Time of the day")) } input id="at" name="at" type="time" required value=(at); }
            div class="field" { label for="keep" { (t("How many are kept")) } input id="keep" name="keep" type="number" min="1" max="100" required value=(keep); }
            button { (t("Save")) }
        }
        @if schedule.is_some() {
            div class="actions" { (page.button("/backups/schedule/end", t("End the schedule"), "plain", &[])) }
        }
    }
}

pub(super) async fn run(page: Page) -> Response {
    let asked = page
        .service
        .request_backup(BackupRequest::default(), page.actor())
        .await;
    match asked {
        Ok(()) => back("/backups", "asked"),
        Err(failure) => page.problem(&failure),
    }
}

#[derive(Deserialize)]
pub(super) struct Schedule {
    folder: String,
    every_days: u32,
    at: String,
    keep: u32,
}

pub(super) async fn set_schedule(page: Page, Form(given): Form<Schedule>) -> Response {
    let schedule = BackupScheduleInfo {
        folder: given.folder.trim().to_owned(),
        every_days: given.every_days,
        at: given.at,
        keep: given.keep,
    };
    match page
        .service
        .set_backup_schedule(Some(schedule), page.actor())
        .await
    {
        Ok(_) => back("/backups", "saved"),
        Err(failure) => page.problem(&failure),
    }
}

pub(super) async fn end_schedule(page: Page) -> Response {
    match page.service.set_backup_schedule(None, page.actor()).await {
        Ok(_) => back("/backups", "saved"),
        Err(failure) => page.problem(&failure),
    }
}
