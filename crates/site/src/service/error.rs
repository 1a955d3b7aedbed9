//! Why the service layer refuses.

use executive::UnknownComponent;
use store::StoreError;

use crate::usage::CollectError;

/// Why a request was not carried out; nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// There is no such thing.
    #[error("{message}")]
    NotFound {
        /// One sentence.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// It is not possible in the present state.
    #[error("{message}")]
    Refused {
        /// One sentence.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// The request makes no sense.
    #[error("{message}")]
    Invalid {
        /// One sentence.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// Not now.
    #[error("{message}")]
    Unavailable {
        /// One sentence.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// Something below failed.
    #[error("the request could not be carried out")]
    Internal {
        /// Cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ServiceError {
    /// What to do, if there is advice.
    pub fn hint(&self) -> Option<&str> {
        match self {
            ServiceError::NotFound { hint, .. }
            | ServiceError::Refused { hint, .. }
            | ServiceError::Invalid { hint, .. }
            | ServiceError::Unavailable { hint, .. } => hint.as_deref(),
            ServiceError::Internal { .. } => Some("see smsexec.log of the site"),
        }
    }
}

impl From<StoreError> for ServiceError {
    fn from(failure: StoreError) -> Self {
        match failure {
            StoreError::NotFound { what, key } => ServiceError::NotFound {
                message: format!("there is no {what} {key}"),
                hint: Some("`tidegate updates list --all` shows the packages".into()),
            },
            StoreError::Illegal { guid, source } => ServiceError::Refused {
                message: format!(
                    "package {guid} is {}, where this is not possible",
                    source.state.label().to_lowercase()
                ),
                hint: Some(format!("`tidegate updates show {guid}` shows what it waits for")),
            },
            StoreError::Full { .. } | StoreError::Busy { .. } => ServiceError::Unavailable {
                message: failure.to_string(),
                hint: None,
            },
            other => ServiceError::Internal {
                source: Box::new(other),
            },
        }
    }
}

impl From<CollectError> for ServiceError {
    fn from(failure: CollectError) -> Self {
        match failure {
            CollectError::Store(failure) => failure.into(),
            other => ServiceError::Internal {
                source: Box::new(other),
            },
        }
    }
}

impl From<UnknownComponent> for ServiceError {
    fn from(failure: UnknownComponent) -> Self {
        ServiceError::NotFound {
            message: failure.to_string(),
            hint: Some("`tidegate component list` shows the components".into()),
        }
    }
}

impl From<content::LibraryError> for ServiceError {
    fn from(failure: content::LibraryError) -> Self {
        ServiceError::Internal {
            source: Box::new(failure),
        }
    }
}

impl From<tokio::task::JoinError> for ServiceError {
    fn from(failure: tokio::task::JoinError) -> Self {
        ServiceError::Internal {
            source: Box::new(failure),
        }
    }
}
