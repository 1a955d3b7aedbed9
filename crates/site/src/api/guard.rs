//! What each route takes, decided in one place for API and console: a route cannot be written down without it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use domain::access::{ObjectClass, Permission, Scope};
use http::{Method, StatusCode};

use super::problem::refuse;
use crate::service::{Actor, SiteService};

/// What it takes to look (GET, HEAD) and to change (all other methods).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Needs {
    look: Option<Permission>,
    change: Option<Permission>,
}

impl Needs {
    /// What a method takes; nothing where the route does not know the method.
    pub(crate) fn of(self, method: &Method) -> Option<Permission> {
        match *method == Method::GET || *method == Method::HEAD {
            true => self.look,
            false => self.change,
        }
    }
}

/// A route for everybody who is signed in.
pub(crate) fn signed_in() -> Needs {
    Needs {
        look: Some(Permission::SignedIn),
        change: None,
    }
}

/// A route by which everybody who is signed in changes what is their own.
pub(crate) fn signed_in_changes() -> Needs {
    Needs {
        look: None,
        change: Some(Permission::SignedIn),
    }
}

/// A route that shows.
pub(crate) fn reads(class: ObjectClass) -> Needs {
    Needs {
        look: Some(Permission::Read(class)),
        change: None,
    }
}

/// A route that changes what every administrator works with.
pub(crate) fn modifies(class: ObjectClass) -> Needs {
    Needs {
        look: None,
        change: Some(Permission::Modify(class, Scope::Default)),
    }
}

/// A route that changes what binds the whole hierarchy.
pub(crate) fn modifies_all(class: ObjectClass) -> Needs {
    Needs {
        look: None,
        change: Some(Permission::Modify(class, Scope::All)),
    }
}

/// A route that shows and changes.
pub(crate) fn both(class: ObjectClass) -> Needs {
    Needs {
        look: reads(class).look,
        ..modifies(class)
    }
}

/// A route that shows, and changes what binds the whole hierarchy.
pub(crate) fn both_all(class: ObjectClass) -> Needs {
    Needs {
        look: reads(class).look,
        ..modifies_all(class)
    }
}

/// A route with what it takes.
pub(crate) struct Route {
    pub(crate) path: &'static str,
    pub(crate) needs: Needs,
    methods: MethodRouter<Arc<SiteService>>,
}

/// Writes a route down.
pub(crate) fn route(path: &'static str, needs: Needs, methods: MethodRouter<Arc<SiteService>>) -> Route {
    Route { path, needs, methods }
}

impl Route {
    /// The methods without the guard, for what stands behind it.
    pub(crate) fn unguarded(&self) -> MethodRouter<Arc<SiteService>> {
        self.methods.clone()
    }

    /// The methods behind the guard.
    pub(crate) fn guarded(self) -> MethodRouter<Arc<SiteService>> {
        self.methods
            .layer(from_fn_with_state(self.needs, check_permission))
    }
}

async fn check_permission(State(needs): State<Needs>, request: Request, next: Next) -> Response {
    let Some(needed) = needs.of(request.method()) else {
        let detail = format!("{} does not take {}", request.uri().path(), request.method());
        return refuse(StatusCode::METHOD_NOT_ALLOWED, detail, None).into_response();
    };
    let refused = |status, error, hint: &str| refuse(status, error, Some(hint.to_owned())).into_response();
    match request.extensions().get::<Actor>() {
        Some(actor) if actor.access().allows(needed) => next.run(request).await,
        Some(actor) => {
            tracing::info!("{} was refused {}", actor.as_str(), request.uri().path());
            let role = actor.access().role.as_str();
            let error = format!("this takes {needed}, which {role} does not give");
            refused(
                StatusCode::FORBIDDEN,
                error,
                "ask a Full Administrator for another role",
            )
        }
        None => refused(
            StatusCode::UNAUTHORIZED,
            "nobody is signed in".to_owned(),
            "sign in, or send a token",
        ),
    }
}
