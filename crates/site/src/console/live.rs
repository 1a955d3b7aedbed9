//! The live part of a page, sent to the browser whenever it changes.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Query, State};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::{Extensions, HeaderMap, StatusCode};
use serde::Deserialize;

use super::door::cookie;
use crate::live::watch;
use crate::service::SiteService;

/// Marks a request for the live part of a page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fragment;

/// The pages that may be looked at.
#[derive(Clone)]
pub(super) struct Pages(pub(super) Router);

#[derive(Deserialize)]
pub(super) struct View {
    page: String,
}

/// `GET /live?page=PATH`
pub(super) async fn stream(
    State(service): State<Arc<SiteService>>,
    Extension(Pages(pages)): Extension<Pages>,
    Query(view): Query<View>,
    headers: HeaderMap,
) -> Response {
    let Some(cookie) = cookie(&service, &headers) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    if !view.page.starts_with('/') || view.page.parse::<http::Uri>().is_err() {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let place = service.view_place();
    let admit = move || {
        let (service, cookie) = (service.clone(), cookie.clone());
        async move {
            // Looking on does not keep a session alive.
            let session = service.session(&cookie, false).await.ok()??;
            let mut extensions = Extensions::new();
            extensions.insert(session.actor.clone());
            extensions.insert(session);
            extensions.insert(Fragment);
            Some(extensions)
        }
        .boxed()
    };
    watch(pages, view.page, Box::new(admit), place)
}
