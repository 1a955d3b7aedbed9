//! Accounts and roles: users, what each role gives, tokens of the API.

use axum::Form;
use axum::extract::Extension;
use axum::response::{IntoResponse, Redirect, Response};
use domain::access::{ObjectClass, Role, Scope};
use http::HeaderMap;
use maud::{Markup, html};
use pages::parts::{badge, field, password_field, table};
use protocol::api::{AccountInfo, AccountRequest, RoleRequest, TokenInfo, TokenRequest};
use serde::Deserialize;

use super::catalogue::t;
use super::door::{Peer, address, device};
use super::page::{Page, back};
use crate::service::ServiceError;

pub(super) async fn show(page: Page) -> Response {
    render(&page, None).await
}

async fn render(page: &Page, token: Option<&str>) -> Response {
    let found =
        async { Ok::<_, ServiceError>((page.service.accounts().await?, page.service.tokens().await?)) };
    let (accounts, tokens) = match found.await {
        Ok(found) => found,
        Err(failure) => return page.problem(&failure),
    };
    let may = page.may_change_all(ObjectClass::Accounts);
    page.show(
        t("Accounts and roles"),
        html! {
            @if let Some(token) = token {
                div class="note good" role="status" { p { (t("Keep this token; it is not shown again.")) } pre tabindex="0" { (token) } }
            }
            (users(page, &accounts, may))
            @if may { (new_user(page)) }
            h2 { (t("API tokens")) }
            (token_table(page, &tokens, may))
            @if may { (new_token(page)) }
            (roles())
        },
    )
}

fn users(page: &Page, accounts: &[AccountInfo], may: bool) -> Markup {
    let rows = accounts
        .iter()
        .map(|account| {
            html! {
                td { (account.name) @if account.locked_until.is_some_and(|until| until > page.now) { " " (badge("warn", t("locked"))) } }
                td {
                    @if may {
                        form method="post" action="/accounts" class="filters" {
                            (page.csrf()) input type="hidden" name="what" value="role"; input type="hidden" name="name" value=(account.name);
                            (role_select(&account.role, &format!("{} {}", t("Role of"), account.name))) (scope_select(&account.scope, &format!("{} {}", t("Scope of"), account.name)))
                            button class="plain" { (t("Save")) }
                        }
                    } @else { (account.role) ", " (account.scope) }
                }
                td { (page.time_or(account.signed_in_at, t("never"))) }
                td { @if may {
                    details { summary { (t("Set a password")) }
                        form method="post" action="/accounts" {
                            (page.csrf()) input type="hidden" name="what" value="password"; input type="hidden" name="name" value=(account.name);
                            input type="password" name="password" autocomplete="new-password" required aria-label={ (t("New password of")) " " (account.name) };
                            button class="plain" { (t("Set")) }
                        }
                    }
                    (page.button("/accounts", t("Remove"), "plain", &[("what", "remove"), ("name", &account.name)]))
                } }
            }
        })
        .collect();
    table(
        t("Users of the console"),
        &[t("Name"), t("Role and scope"), t("Last sign-in"), t("Action")],
        rows,
        t("None."),
    )
}

fn role_select(now: &str, label: &str) -> Markup {
    html! { select name="role" aria-label=(label) { @for role in Role::ALL { option value=(role.word()) selected[role.word() == now] { (role.as_str()) } } } }
}

fn scope_select(now: &str, label: &str) -> Markup {
    html! { select name="scope" aria-label=(label) { @for scope in [Scope::All, Scope::Default] { option value=(scope.as_str()) selected[scope.as_str() == now] { (scope.as_str()) } } } }
}

fn new_user(page: &Page) -> Markup {
    html! {
        form method="post" action="/accounts" {
            (page.csrf()) input type="hidden" name="what" value="add";
            fieldset {
                legend { (t("Add a user")) }
                (field("name", t("Name"), "", "off"))
                (password_field("password", t("Password"), "new-password", Some(t("At least 12 characters."))))
                div class="filters" { label { (t("Role")) (role_select("read-only-analyst", t("Role of the new user"))) } label { (t("Scope")) (scope_select("Default", t("Scope of the new user"))) } }
                button { (t("Add")) }
            }
        }
    }
}

fn token_table(page: &Page, tokens: &[TokenInfo], may: bool) -> Markup {
    let rows = tokens
        .iter()
        .map(|token| {
            html! {
                td { (token.name) } td { (token.role) } td { (token.scope) }
                td { @if may { (page.button("/accounts", t("Revoke"), "plain", &[("what", "revoke"), ("name", &token.name)])) } }
            }
        })
        .collect();
    table(
        t("Tokens for programs, without their secrets"),
        &[t("Name"), t("Role"), t("Scope"), t("Action")],
        rows,
        t("None."),
    )
}

fn new_token(page: &Page) -> Markup {
    html! {
        form method="post" action="/accounts" {
            (page.csrf()) input type="hidden" name="what" value="token";
            fieldset {
                legend { (t("Make a token")) }
                div class="field" { label for="token-name" { (t("Name")) } input id="token-name" name="name" required autocomplete="off"; }
                div class="filters" { label { (t("Role")) (role_select("read-only-analyst", t("Role of the new token"))) } label { (t("Scope")) (scope_select("Default", t("Scope of the new token"))) } }
                button { (t("Make")) }
            }
        }
    }
}

fn roles() -> Markup {
    let rows = Role::ALL
        .into_iter()
        .map(|role| html! { td { (role.as_str()) } td { (role.description()) } })
        .collect();
    html! {
        h2 { (t("Roles")) }
        (table(t("Built-in roles"), &[t("Role"), t("What it gives")], rows, ""))
    }
}

pub(super) async fn own_password(page: Page) -> Response {
    page.show(
        t("Your password"),
        html! {
            form method="post" action="/own-password/change" {
                (page.csrf())
                (password_field("present", t("Present password"), "current-password", None))
                (password_field("password", t("New password"), "new-password", Some(t("At least 12 characters."))))
                button { (t("Change")) }
            }
            p class="faint" { (t("Afterwards you sign in anew.")) }
        },
    )
}

#[derive(Deserialize)]
pub(super) struct OwnPassword {
    present: String,
    password: String,
}

pub(super) async fn change_own_password(
    page: Page,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    Form(form): Form<OwnPassword>,
) -> Response {
    let device = device(&page.service, &headers);
    let changed = page
        .service
        .change_own_password(
            page.session(),
            &form.present,
            &form.password,
            address(peer),
            device.as_deref(),
        )
        .await;
    match changed {
        Ok(()) => Redirect::to("/sign-in").into_response(),
        Err(failure) => page.problem(&failure),
    }
}

#[derive(Deserialize)]
pub(super) struct Change {
    what: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    role: String,
    scope: Option<String>,
    #[serde(default)]
    password: String,
}

pub(super) async fn change(page: Page, Form(form): Form<Change>) -> Response {
    let (service, actor) = (&page.service, page.actor());
    let Change {
        what,
        name,
        role,
        scope,
        password,
    } = form;
    let changed = match what.as_str() {
        "add" => {
            let request = AccountRequest {
                name,
                role,
                scope,
                password,
            };
            service.add_account(request, actor).await
        }
        "role" => {
            service
                .set_account_role(&name, RoleRequest { role, scope }, actor)
                .await
        }
        "password" => service.set_account_password(&name, &password, actor).await,
        "remove" => service.remove_account(&name, actor).await,
        "revoke" => service.remove_token(&name, actor).await,
        "token" => match service.add_token(TokenRequest { name, role, scope }, actor).await {
            // The only page that shows it is the answer itself: it is nowhere to be read again.
            Ok(made) => return render(&page, Some(&made.token)).await,
            Err(failure) => Err(failure),
        },
        other => Err(ServiceError::Invalid {
            message: format!("{other:?} is nothing that is done with accounts"),
            hint: None,
        }),
    };
    match changed {
        Ok(()) => back("/accounts", "saved"),
        Err(failure) => page.problem(&failure),
    }
}
