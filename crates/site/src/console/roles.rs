//! Servers and Site System Roles; mode and proxy of the service connection point; content and the link that fills it.

use axum::Form;
use axum::response::Response;
use domain::access::ObjectClass;
use maud::{Markup, html};
use pages::parts::{badge, password_field, table};
use protocol::api::{ModeRequest, ProxyRequest, ThrottleRequest};
use serde::Deserialize;

use super::catalogue::t;
use super::page::{Page, back};
use crate::service::ServiceError;
use crate::words;

pub(super) async fn servers(page: Page) -> Response {
    let found = async { Ok::<_, ServiceError>((page.service.site_show().await?, page.service.scp().await?)) };
    let (site, scp) = match found.await {
        Ok(found) => found,
        Err(failure) => return page.problem(&failure),
    };
    // One server carries everything here; the table has a row for each role of each server, so that more of both fit.
    let role = |name: Markup, detail: Markup| html! { td { (site.site_code) } td { (site.machine) } td { (name) } td { (detail) } };
    let rows = vec![
        role(
            html! { (t("Site server")) },
            html! { (t("version")) " " (site.version) ", " (site.directory) },
        ),
        role(
            html! { (t("Component server")) },
            html! { a href="/components" { (t("its components")) } },
        ),
        role(
            html! { (t("Site system")) },
            html! { (words::bytes(site.free_bytes)) " " (t("free")) },
        ),
        role(
            html! { a href="/servers/service-connection-point" { (t("Service connection point")) } },
            html! { (mode_words(&scp.mode_effective)) @if let Some(proxy) = &scp.proxy { ", " (t("proxy")) " " (proxy.host) ":" (proxy.port) } },
        ),
    ];
    page.show(
        t("Servers and Site System Roles"),
        html! { (table(t("Servers of the hierarchy and the roles they carry"), &[t("Site"), t("Server"), t("Role"), t("Detail")], rows, "")) },
    )
}

fn mode_words(mode: &str) -> &'static str {
    match mode {
        "online" => t("Online, persistent connection"),
        _ => t("Offline, on-demand connection"),
    }
}

pub(super) async fn scp(page: Page) -> Response {
    let scp = match page.service.scp().await {
        Ok(scp) => scp,
        Err(failure) => return page.problem(&failure),
    };
    let may = page.may_change(ObjectClass::ServiceConnectionPoint);
    let proxy = scp.proxy.as_ref();
    page.show(
        t("Service connection point"),
        html! {
            p { (t("In force")) ": " (badge("info", mode_words(&scp.mode_effective)))
                @if scp.mode_configured != scp.mode_effective { " " (t("configured")) ": " (badge("warn", mode_words(&scp.mode_configured))) " " (t("It takes effect when SMS_DMP_DOWNLOADER restarts.")) } }
            @if let Some(run) = &scp.internet { p { a href="/internet" { (t("Last check of internet access")) } ": " (run.summary) " " (page.time(run.started_at)) } }
            @if may {
                form method="post" action="/servers/service-connection-point/mode" {
                    (page.csrf())
                    fieldset {
                        legend { (t("Mode")) }
                        @for mode in ["online", "offline"] { label class="check" { input type="radio" name="mode" value=(mode) checked[scp.mode_configured == mode]; span { (mode_words(mode)) } } }
                        label class="check" { input type="checkbox" name="restart"; span { (t("Restart SMS_DMP_DOWNLOADER so that it takes effect at once")) } }
                        button { (t("Save")) }
                    }
                }
                form method="post" action="/servers/service-connection-point/proxy" {
                    (page.csrf())
                    fieldset {
                        legend { (t("Proxy of this server")) }
                        label class="check" { input type="checkbox" name="use" checked[proxy.is_some()]; span { (t("Use a proxy when synchronising information from the internet")) } }
                        div class="field" { label for="host" { (t("Proxy server name")) } input id="host" name="host" value=(proxy.map(|proxy| proxy.host.as_str()).unwrap_or_default()); }
                        div class="field" { label for="port" { (t("Port")) } input id="port" name="port" inputmode="numeric" size="6" value=(proxy.map_or(80, |proxy| proxy.port)); }
                        div class="field" { label for="user" { (t("User, if it asks for one")) } input id="user" name="user" autocomplete="off" value=(proxy.and_then(|proxy| proxy.user.as_deref()).unwrap_or_default()); }
                        (optional_password())
                        label class="check" { input type="checkbox" name="tls" checked[proxy.is_some_and(|proxy| proxy.tls)]; span { (t("Speak TLS to the proxy")) } }
                        label class="check" { input type="checkbox" name="clear_basic" checked[proxy.is_some_and(|proxy| proxy.basic_over_clear_text)]; span { (t("Allow Basic without TLS, which shows the password on the network")) } }
                        div class="field" { label for="exceptions" { (t("Exceptions, separated by spaces")) } input id="exceptions" name="exceptions" value=(proxy.map(|proxy| proxy.exceptions.join(" ")).unwrap_or_default()); }
                        button { (t("Save")) }
                    }
                }
            }
            p { a href="/usage" { (t("Usage data: level, preview, ledger")) } }
        },
    )
}

fn optional_password() -> Markup {
    let text = password_field(
        "password",
        t("Password"),
        "new-password",
        Some(t(
            "It is stored encrypted and never shown; a user needs it typed anew whenever this is saved.",
        )),
    );
    // It may stay empty, unlike at a sign-in.
    maud::PreEscaped(text.into_string().replace(" required", ""))
}

#[derive(Deserialize)]
pub(super) struct Mode {
    mode: String,
    restart: Option<String>,
}

pub(super) async fn set_mode(page: Page, Form(form): Form<Mode>) -> Response {
    let request = ModeRequest {
        mode: form.mode,
        restart: form.restart.is_some(),
    };
    match page.service.set_mode(request, page.actor()).await {
        Ok(_) => back("/servers/service-connection-point", "saved"),
        Err(failure) => page.problem(&failure),
    }
}

#[derive(Deserialize)]
pub(super) struct Proxy {
    #[serde(rename = "use")]
    used: Option<String>,
    #[serde(default)]
    host: String,
    #[serde(default)]
    port: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    exceptions: String,
    tls: Option<String>,
    clear_basic: Option<String>,
}

pub(super) async fn set_proxy(page: Page, Form(form): Form<Proxy>) -> Response {
    let text = |text: String| (!text.is_empty()).then_some(text);
    let saved = match form.used {
        None => page.service.clear_proxy(page.actor()).await,
        Some(_) => match form.port.parse() {
            Err(_) => Err(ServiceError::Invalid {
                message: format!("{:?} is no port; write 1 to 65535", form.port),
                hint: None,
            }),
            Ok(port) => {
                let request = ProxyRequest {
                    host: form.host,
                    port,
                    tls: form.tls.is_some(),
                    user: text(form.user),
                    password: text(form.password),
                    basic_over_clear_text: form.clear_basic.is_some(),
                    exceptions: form.exceptions.split_whitespace().map(str::to_owned).collect(),
                };
                page.service.set_proxy(request, page.actor()).await.map(drop)
            }
        },
    };
    match saved {
        Ok(()) => back("/servers/service-connection-point", "saved"),
        Err(failure) => page.problem(&failure),
    }
}

pub(super) async fn content(page: Page) -> Response {
    let found = async {
        Ok::<_, ServiceError>((
            page.service.content_stats().await?,
            page.service.throttle().await?,
        ))
    };
    let (stats, throttle) = match found.await {
        Ok(found) => found,
        Err(failure) => return page.problem(&failure),
    };
    let week = throttle
        .week
        .iter()
        .map(|hours| html! { td { (hours.from) } td class="number" { (hours.hours) } td { (hours.limit) } })
        .collect();
    page.show(
        t("Content and links"),
        html! {
            div class="cards" {
                section class="card" {
                    h3 { (t("Content library")) }
                    dl {
                        dt { (t("Packages")) } dd { (stats.packages) }
                        dt { (t("Objects")) } dd { (stats.objects) }
                        dt { (t("Logical size")) } dd { (words::bytes(stats.logical_bytes)) }
                        dt { (t("Stored size")) } dd { (words::bytes(stats.stored_bytes)) }
                        dt { (t("Shared")) } dd { (words::bytes(stats.shared_bytes)) }
                        dt { (t("Needed by no package")) } dd { (words::bytes(stats.unreferenced_bytes)) }
                    }
                }
                section class="card" {
                    h3 { (t("Link to the feed")) }
                    p { (t("Limit now")) ": " (badge("info", &throttle.now)) }
                    (table(t("Limits through the week"), &[t("From"), t("Hours"), t("Limit")], week, t("Nothing is limited.")))
                    @if page.may_change(ObjectClass::Content) {
                        form method="post" action="/content" {
                            (page.csrf())
                            div class="field" {
                                label for="rules" { (t("Rules, one a line; a later one wins")) }
                                textarea id="rules" name="rules" rows="4" cols="40" { (throttle.rules.join("\n")) }
                                span class="faint" { (t("Such as: 20 MB/s, or mon-fri 08-18 2 MB/s, or 22-06 closed. Empty: no limit.")) }
                            }
                            button { (t("Save")) }
                        }
                    }
                }
            }
        },
    )
}

#[derive(Deserialize)]
pub(super) struct Rules {
    #[serde(default)]
    rules: String,
}

pub(super) async fn set_throttle(page: Page, Form(form): Form<Rules>) -> Response {
    let lines = form.rules.lines().map(str::trim).filter(|line| !line.is_empty());
    let request = ThrottleRequest {
        rules: lines.map(str::to_owned).collect(),
    };
    match page.service.set_throttle(request, page.actor()).await {
        Ok(_) => back("/content", "saved"),
        Err(failure) => page.problem(&failure),
    }
}
