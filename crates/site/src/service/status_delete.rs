//! Deleting status messages on request: by record, or by what they are like, a bounded number at a time.

use domain::status_message::{Severity, StatusMessageId};
use protocol::api::{DELETE_GROUP_MAX, StatusDeleteRequest, StatusDeleted};
use store::{StatusFilter, StoreError};

use super::status::severity_named;
use super::{Actor, ServiceError, SiteService, component_name};

/// Records deleted in one transaction, so that nobody waits long for the database.
const BATCH: u32 = 20_000;

impl SiteService {
    /// `status delete`
    pub async fn delete_status_messages(
        &self,
        request: StatusDeleteRequest,
        actor: &Actor,
    ) -> Result<StatusDeleted, ServiceError> {
        let invalid = |message: String| ServiceError::Invalid { message, hint: None };
        let StatusDeleteRequest {
            record_ids,
            component,
            severity,
            id,
            before,
        } = request;
        let by_query = component.is_some() || severity.is_some() || id.is_some() || before.is_some();
        if by_query != record_ids.is_empty() {
            return Err(invalid(
                "name records to delete, or say what they are like; one of the two".into(),
            ));
        }
        if record_ids.len() > DELETE_GROUP_MAX {
            return Err(invalid(format!(
                "{} records at once; a request names {DELETE_GROUP_MAX} at most",
                record_ids.len()
            )));
        }
        let now = self.clock.now();
        let severity = severity.as_deref().map(severity_named).transpose()?;
        let filter = StatusFilter {
            component: component
                .map(|name| component_name(&name).map(|name| name.to_string()))
                .transpose()?,
            severity: severity.map(Severity::code),
            message_id: id,
            // Never what is raised from now on: that would be the audit of this very deletion.
            until: Some(before.map_or(now, |before| before.min(now))),
            ..StatusFilter::default()
        };
        let which = match by_query {
            false => "by record".to_owned(),
            true => described(&filter),
        };
        let (context, actor) = (self.context.clone(), actor.clone());
        let work = move |tx: &store::Tx<'_>| {
            let ids = match by_query {
                true => tx.status_message_ids(&filter, BATCH)?,
                false => tx.known_status_messages(&record_ids)?,
            };
            if !ids.is_empty() {
                let strings = [actor.as_str(), &ids.len().to_string(), &which];
                let audit = context.status_message(StatusMessageId::AdminStatusDelete, &strings, now);
                tx.record_status_message(&audit)?;
                tx.delete_status_messages(&ids)?;
            }
            Ok(StatusDeleted {
                deleted: ids.len() as u64,
                more: by_query && ids.len() == BATCH as usize,
            })
        };
        Ok(self.context.store.write::<_, StoreError, _>(work).await?)
    }
}

fn described(filter: &StatusFilter) -> String {
    let severity = filter.severity.and_then(Severity::from_code);
    let parts = [
        filter.component.as_ref().map(|name| format!("component {name}")),
        severity.map(|severity| format!("severity {}", severity.as_str())),
        filter.message_id.map(|id| format!("id {id}")),
        filter.until.map(|until| format!("before {until}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
