//! The page to hand to the people of firewall and proxy: what is asked for, why, and how it fails now.

use protocol::connectivity::{CheckReport, TargetReport};

/// One HTML page that needs nothing else.
pub fn page(report: &CheckReport) -> String {
    let mut text = String::from(HEAD);
    let line = |text: &mut String, html: String| {
        text.push_str(&html);
        text.push('\n');
    };
    line(
        &mut text,
        format!("<h1>Internet access of {}</h1>", escape(&report.server)),
    );
    let way = report.proxy.as_ref().map_or("directly".to_owned(), |proxy| {
        format!("through the proxy {proxy}")
    });
    line(
        &mut text,
        format!(
            "<p>Checked {} {}. Outcome: <b>{}</b>. {}.</p>",
            escape(&report.started_at.to_string()),
            escape(&way),
            escape(&report.outcome),
            escape(&report.summary)
        ),
    );
    if let Some(fault) = &report.fault {
        line(
            &mut text,
            format!(
                "<p><code>{}</code> {}. {}</p>",
                escape(&fault.code),
                escape(&fault.evidence),
                escape(&fault.advice)
            ),
        );
    }
    let failing: Vec<&TargetReport> = report
        .results
        .iter()
        .filter(|target| target.fault.is_some() && !target.retired)
        .collect();
    if !failing.is_empty() {
        line(&mut text, "<h2>What does not work</h2>".into());
        let mut parties: Vec<&str> = failing
            .iter()
            .filter_map(|target| Some(target.fault.as_ref()?.party.as_str()))
            .collect();
        parties.sort_unstable();
        parties.dedup();
        for party in parties {
            line(&mut text, format!("<h3>For: {}</h3>", escape(party)));
            line(&mut text, "<table><tr><th>Host</th><th>Port</th><th>Feature</th><th>Needed</th><th>Phase</th><th>Fault</th><th>What was seen</th></tr>".into());
            let of_party = || {
                failing
                    .iter()
                    .filter(|target| target.fault.as_ref().is_some_and(|fault| fault.party == party))
            };
            for target in of_party() {
                let Some(fault) = &target.fault else { continue };
                let cells = [
                    target.host.as_str(),
                    &target.port.to_string(),
                    &target.features.join(", "),
                    if target.critical { "yes" } else { "no" },
                    &fault.phase,
                    &fault.code,
                    &fault.evidence,
                ];
                line(&mut text, row(&cells));
            }
            line(&mut text, "</table><p>Request to copy:</p><pre>".into());
            for target in of_party() {
                let Some(fault) = &target.fault else { continue };
                line(
                    &mut text,
                    escape(&format!("{}:{} - {}", target.host, target.port, fault.advice)),
                );
            }
            line(&mut text, "</pre>".into());
        }
    }
    line(&mut text, "<h2>Everything that has to be reachable</h2>".into());
    line(&mut text, "<table><tr><th>Host</th><th>Port</th><th>Protocol</th><th>Stands for</th><th>Feature</th><th>Needed</th><th>Now</th></tr>".into());
    for target in report.results.iter().filter(|target| !target.retired) {
        let protocol = target.url.split("://").next().unwrap_or_default();
        let now = target
            .fault
            .as_ref()
            .map_or(target.result.as_str(), |fault| fault.code.as_str());
        let cells = [
            target.host.as_str(),
            &target.port.to_string(),
            protocol,
            &target.stands_for.join(", "),
            &target.features.join(", "),
            if target.critical { "yes" } else { "no" },
            now,
        ];
        line(&mut text, row(&cells));
    }
    line(&mut text, "</table>".into());
    if !report.not_testable.is_empty() {
        line(
            &mut text,
            "<h2>Also to be allowed, and not testable</h2><ul>".into(),
        );
        for entry in &report.not_testable {
            line(
                &mut text,
                format!(
                    "<li><code>{}</code> ({}): {}</li>",
                    escape(&entry.pattern),
                    escape(&entry.feature),
                    escape(&entry.why)
                ),
            );
        }
        line(&mut text, "</ul>".into());
    }
    let catalogue = report.catalogue.as_ref().map_or_else(String::new, |stamp| {
        format!("Catalogue {} of {}. ", stamp.name, stamp.version)
    });
    line(
        &mut text,
        format!(
            "<p class=\"small\">{}Run {}.</p></body></html>",
            escape(&catalogue),
            escape(&report.run_id)
        ),
    );
    text
}

fn row(cells: &[&str]) -> String {
    let cells: String = cells
        .iter()
        .map(|cell| format!("<td>{}</td>", escape(cell)))
        .collect();
    format!("<tr>{cells}</tr>")
}

/// Text inside markup.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

const HEAD: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width\"><title>Internet access</title>\n<style>\
body{font:15px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}\
table{border-collapse:collapse;width:100%;margin:.5rem 0 1rem}td,th{border:1px solid #c8ccd1;padding:.3rem .5rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}\
th{background:#f0f2f4}pre{background:#f6f7f8;padding:.8rem;white-space:pre-wrap}.small{color:#5a6270;font-size:.85rem}\
@media(prefers-color-scheme:dark){body{color:#e6e8ea;background:#16191c}td,th{border-color:#3a4047}th{background:#22272c}pre{background:#1f2428}}\
</style></head><body>\n";

#[cfg(test)]
mod tests {
    #[test]
    fn what_comes_from_outside_is_text() {
        assert_eq!(super::escape("<b>\"&\""), "&lt;b&gt;&quot;&amp;&quot;");
    }
}
