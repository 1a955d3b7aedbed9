//! Forms that change something: from a page of this console, with the word that only this session's pages know.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::body::Body;
use axum::extract::Request;
use http::StatusCode;
use http_body_util::{BodyExt, Limited};

use crate::catalogue::t;
use crate::requests::is_same_origin;

/// Largest form, in bytes; the longest ones list features, rules and messages.
pub const FORM_BYTES_MAX: usize = 64 * 1024;
/// The field with the word of the session.
pub const CSRF_FIELD: &str = "_csrf";

/// Why a form changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormRefusal {
    /// A page of another site sent it.
    OtherSite,
    /// It is larger than any of ours, or did not come to its end.
    Unread,
    /// It does not carry the session's word.
    OtherSession,
}

impl FormRefusal {
    /// The status of the answer.
    pub fn status(self) -> StatusCode {
        match self {
            FormRefusal::OtherSite | FormRefusal::OtherSession => StatusCode::FORBIDDEN,
            FormRefusal::Unread => StatusCode::PAYLOAD_TOO_LARGE,
        }
    }

    /// The words for people.
    pub fn text(self) -> &'static str {
        match self {
            FormRefusal::OtherSite => t("This form was sent by another site; nothing was changed."),
            FormRefusal::Unread => t("This form is larger than any of ours; nothing was changed."),
            FormRefusal::OtherSession => {
                t("This form does not belong to your session; open the page again. Nothing was changed.")
            }
        }
    }
}

/// The same request, if its form comes from this console and carries this word.
pub async fn own_form(request: Request, word: &str) -> Result<Request, FormRefusal> {
    let (parts, body) = request.into_parts();
    if !is_same_origin(&parts.headers, &parts.uri) {
        return Err(FormRefusal::OtherSite);
    }
    let bytes = Limited::new(body, FORM_BYTES_MAX)
        .collect()
        .await
        .map_err(|_| FormRefusal::Unread)?
        .to_bytes();
    let given = url::form_urlencoded::parse(&bytes)
        .find(|(name, _)| name == CSRF_FIELD)
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default();
    // A session without a word would be everybody's.
    match verify_slices_are_equal(given.as_bytes(), word.as_bytes()) {
        Ok(()) if !word.is_empty() => Ok(Request::from_parts(parts, Body::from(bytes))),
        _ => Err(FormRefusal::OtherSession),
    }
}
