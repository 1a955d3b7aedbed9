//! Usage data.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::StreamExt;
use http::header;
use protocol::api::{
    ApiProblem, InventoryInfo, InventoryQuery, LedgerChecked, LedgerEntryInfo, LedgerQuery, LimitQuery,
    UsageLevel, UsageQuery, UsageReportInfo, UsageSending, UsageShow,
};
use tokio::io::AsyncWriteExt;

use super::Service;
use super::problem::{Body, Path, Problem, Query};
use crate::service::Actor;

/// Largest inventory file.
const INVENTORY_BYTES_MAX: u64 = 16 << 30;

/// Settings, the next collection, and the newest reports.
#[utoipa::path(get, path = "/v1/usage", tag = "usage", responses(
    (status = 200, description = "How usage data stands", body = UsageShow),
))]
pub(super) async fn show(State(service): Service) -> Result<Json<UsageShow>, Problem> {
    Ok(Json(service.usage_show().await?))
}

/// The configured level.
#[utoipa::path(get, path = "/v1/usage/level", tag = "usage", responses(
    (status = 200, description = "The level", body = UsageLevel),
))]
pub(super) async fn level(State(service): Service) -> Result<Json<UsageLevel>, Problem> {
    let level = service.usage_level().await?.to_string();
    Ok(Json(UsageLevel { level }))
}

/// Configures the level.
#[utoipa::path(put, path = "/v1/usage/level", tag = "usage", request_body = UsageLevel, responses(
    (status = 200, description = "Configured", body = UsageLevel),
    (status = 400, description = "No such level", body = ApiProblem),
))]
pub(super) async fn set_level(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Body(request): Body<UsageLevel>,
) -> Result<Json<UsageLevel>, Problem> {
    let level = service.set_usage_level(&request.level, &actor).await?.to_string();
    Ok(Json(UsageLevel { level }))
}

/// Whether reports go out by themselves.
#[utoipa::path(get, path = "/v1/usage/sending", tag = "usage", responses(
    (status = 200, description = "The will to send", body = UsageSending),
))]
pub(super) async fn sending(State(service): Service) -> Result<Json<UsageSending>, Problem> {
    let sending = service.usage_sending().await?.to_string();
    Ok(Json(UsageSending { sending }))
}

/// Configures whether reports go out by themselves, after approval, or not at all.
#[utoipa::path(put, path = "/v1/usage/sending", tag = "usage", request_body = UsageSending, responses(
    (status = 200, description = "Configured", body = UsageSending),
    (status = 400, description = "No such way of sending", body = ApiProblem),
))]
pub(super) async fn set_sending(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Body(request): Body<UsageSending>,
) -> Result<Json<UsageSending>, Problem> {
    let sending = service
        .set_usage_sending(&request.sending, &actor)
        .await?
        .to_string();
    Ok(Json(UsageSending { sending }))
}

/// Exactly the bytes that a report at a level has, collected now. Nothing is kept.
#[utoipa::path(get, path = "/v1/usage/preview", tag = "usage", params(UsageQuery), responses(
    (status = 200, description = "The report, in its canonical form", body = String, content_type = "application/json"),
    (status = 400, description = "No such level", body = ApiProblem),
))]
pub(super) async fn preview(
    State(service): Service,
    Query(query): Query<UsageQuery>,
) -> Result<Response, Problem> {
    let text = service.usage_preview(query.level.as_deref()).await?;
    Ok(canonical(text))
}

fn canonical(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// Collects now and keeps the report, to be sent as configured.
#[utoipa::path(post, path = "/v1/usage/collect", tag = "usage", responses(
    (status = 200, description = "Collected", body = UsageReportInfo),
))]
pub(super) async fn collect(
    State(service): Service,
    Extension(actor): Extension<Actor>,
) -> Result<Json<UsageReportInfo>, Problem> {
    Ok(Json(service.usage_collect(&actor).await?))
}

/// Collected reports, newest first.
#[utoipa::path(get, path = "/v1/usage/reports", tag = "usage", params(LimitQuery), responses(
    (status = 200, description = "Reports", body = [UsageReportInfo]),
))]
pub(super) async fn reports(
    State(service): Service,
    Query(query): Query<LimitQuery>,
) -> Result<Json<Vec<UsageReportInfo>>, Problem> {
    Ok(Json(service.usage_reports(&query).await?))
}

/// One report.
#[utoipa::path(get, path = "/v1/usage/reports/{report}", tag = "usage", params(("report" = String, Path, description = "Id of the report")), responses(
    (status = 200, description = "The report", body = UsageReportInfo),
    (status = 404, description = "No such report", body = ApiProblem),
))]
pub(super) async fn report(
    State(service): Service,
    Path(report): Path<String>,
) -> Result<Json<UsageReportInfo>, Problem> {
    Ok(Json(service.usage_report(&report).await?))
}

/// The bytes of a report, exactly as they leave.
#[utoipa::path(get, path = "/v1/usage/reports/{report}/body", tag = "usage", params(("report" = String, Path, description = "Id of the report")), responses(
    (status = 200, description = "The report, in its canonical form", body = String, content_type = "application/json"),
    (status = 404, description = "No such report", body = ApiProblem),
))]
pub(super) async fn report_body(
    State(service): Service,
    Path(report): Path<String>,
) -> Result<Response, Problem> {
    Ok(canonical(service.usage_report_body(&report).await?))
}

/// Lets a report go that waits for approval.
#[utoipa::path(post, path = "/v1/usage/reports/{report}/approve", tag = "usage", params(("report" = String, Path, description = "Id of the report")), responses(
    (status = 200, description = "Approved", body = UsageReportInfo),
    (status = 404, description = "No such report", body = ApiProblem),
    (status = 409, description = "Not possible in its state", body = ApiProblem),
))]
pub(super) async fn approve(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Path(report): Path<String>,
) -> Result<Json<UsageReportInfo>, Problem> {
    Ok(Json(service.usage_approve(&report, &actor).await?))
}

/// Discards a report: it is never sent.
#[utoipa::path(post, path = "/v1/usage/reports/{report}/discard", tag = "usage", params(("report" = String, Path, description = "Id of the report")), responses(
    (status = 200, description = "Discarded", body = UsageReportInfo),
    (status = 404, description = "No such report", body = ApiProblem),
    (status = 409, description = "Not possible in its state", body = ApiProblem),
))]
pub(super) async fn discard(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Path(report): Path<String>,
) -> Result<Json<UsageReportInfo>, Problem> {
    Ok(Json(service.usage_discard(&report, &actor).await?))
}

/// Sends what waits, or collects and sends, as soon as possible.
#[utoipa::path(post, path = "/v1/usage/upload", tag = "usage", responses(
    (status = 202, description = "Asked for"),
    (status = 409, description = "Mode, settings or feed do not allow it", body = ApiProblem),
))]
pub(super) async fn upload(
    State(service): Service,
    Extension(actor): Extension<Actor>,
) -> Result<http::StatusCode, Problem> {
    service.usage_upload(&actor).await?;
    Ok(http::StatusCode::ACCEPTED)
}

/// Replaces the keys of hashes and signatures: to the vendor this hierarchy is a new one from now on.
#[utoipa::path(post, path = "/v1/usage/rotate-keys", tag = "usage", responses(
    (status = 204, description = "Replaced"),
))]
pub(super) async fn rotate_keys(
    State(service): Service,
    Extension(actor): Extension<Actor>,
) -> Result<http::StatusCode, Problem> {
    service.usage_rotate_keys(&actor).await?;
    Ok(http::StatusCode::NO_CONTENT)
}

/// What left, and what was decided about it: entries in a chain of hashes.
#[utoipa::path(get, path = "/v1/usage/ledger", tag = "usage", params(LedgerQuery), responses(
    (status = 200, description = "Entries, oldest first", body = [LedgerEntryInfo]),
))]
pub(super) async fn ledger(
    State(service): Service,
    Query(query): Query<LedgerQuery>,
) -> Result<Json<Vec<LedgerEntryInfo>>, Problem> {
    Ok(Json(service.usage_ledger(query).await?))
}

/// Follows the chain of the whole ledger.
#[utoipa::path(post, path = "/v1/usage/ledger/verify", tag = "usage", responses(
    (status = 200, description = "Whole, or where it is not", body = LedgerChecked),
))]
pub(super) async fn verify_ledger(State(service): Service) -> Result<Json<LedgerChecked>, Problem> {
    Ok(Json(service.usage_ledger_check().await?))
}

/// The tables of the inventory.
#[utoipa::path(get, path = "/v1/inventory", tag = "usage", responses(
    (status = 200, description = "Tables", body = [InventoryInfo]),
))]
pub(super) async fn inventory(State(service): Service) -> Result<Json<Vec<InventoryInfo>>, Problem> {
    Ok(Json(service.inventory().await?))
}

/// Replaces a table of the inventory by the file that is the body. Half a file changes nothing.
#[utoipa::path(put, path = "/v1/inventory/{table}", tag = "usage",
    params(("table" = String, Path, description = "Name of the table"), InventoryQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The file"),
    responses(
        (status = 200, description = "Imported", body = InventoryInfo),
        (status = 400, description = "Not a file of this form and table", body = ApiProblem),
    ))]
pub(super) async fn import(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Path(table): Path<String>,
    Query(query): Query<InventoryQuery>,
    body: axum::body::Body,
) -> Result<Json<InventoryInfo>, Problem> {
    let broken =
        |failure: std::io::Error| Problem::invalid(format!("the file could not be taken: {failure}"));
    // Parquet is read from its end: the file has to be whole before the first row is.
    let file = service.inbox_file().map_err(broken)?;
    let mut spool = tokio::fs::File::from_std(file);
    let mut chunks = body.into_data_stream();
    let mut bytes = 0_u64;
    while let Some(chunk) = chunks.next().await {
        let chunk =
            chunk.map_err(|failure| Problem::invalid(format!("the file did not arrive whole: {failure}")))?;
        bytes += chunk.len() as u64;
        if bytes > INVENTORY_BYTES_MAX {
            return Err(Problem::invalid(format!(
                "the file has more than {INVENTORY_BYTES_MAX} bytes"
            )));
        }
        spool.write_all(&chunk).await.map_err(broken)?;
    }
    spool.flush().await.map_err(broken)?;
    let file = spool.into_std().await;
    let info = service
        .import_inventory(&table, &query.format, file, &actor)
        .await?;
    Ok(Json(info))
}
