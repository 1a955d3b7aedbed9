//! From the domain's package record to the wire form.

use domain::servicing::package::{
    Feature, Hook, PackageGuid, PackageRecord, PrerequisiteRule, Redistributable, Severity,
};

use super::record::{
    CatalogueRecord, DeltaRecord, FORMAT, FeatureRecord, HealthRecord, HookRecord, InstallRecord,
    PayloadRecord, RedistRecord, RuleRecord, TextRecord,
};

impl From<&PackageRecord> for CatalogueRecord {
    fn from(record: &PackageRecord) -> Self {
        let hooks = |hooks: &[Hook]| hooks.iter().map(HookRecord::from).collect();
        let texts = record.texts.iter().map(|(locale, text)| {
            let text = TextRecord {
                name: text.name.clone(),
                description: text.description.clone(),
                eula: text.eula.clone(),
            };
            (locale.clone(), text)
        });
        CatalogueRecord {
            format: FORMAT,
            guid: record.guid.to_string(),
            text: texts.collect(),
            full_version: record.full_version.to_string(),
            client_version: record.client_version.clone(),
            min_site_version: record.min_site_version.map(|version| version.to_string()),
            max_site_version: record.max_site_version.map(|version| version.to_string()),
            update_type: record.update_type.as_str().to_owned(),
            impact: record
                .impact
                .iter()
                .map(|area| area.as_str().to_owned())
                .collect(),
            prerequisite: record.prerequisite.map(|guid| guid.to_string()),
            supersedes: record.supersedes.iter().map(PackageGuid::to_string).collect(),
            released: record.released,
            more_info: record.more_info.clone(),
            payload: PayloadRecord {
                index: record.payload.index_target.clone(),
                index_sha256: record.payload.index_sha256.clone(),
                index_length: record.payload.index_length,
                files: record.payload.files,
                bytes: record.payload.bytes,
                download_bytes: record.payload.download_bytes,
                deltas: record
                    .payload
                    .deltas
                    .iter()
                    .map(|delta| DeltaRecord {
                        base: delta.base.map(|base| base.to_string()),
                        index: delta.index_target.clone(),
                        index_sha256: delta.index_sha256.clone(),
                        index_length: delta.index_length,
                        bytes: delta.bytes,
                    })
                    .collect(),
            },
            redistributables: record.redistributables.iter().map(RedistRecord::from).collect(),
            features: record.features.iter().map(FeatureRecord::from).collect(),
            applicability: record.applicability.clone(),
            prerequisite_rules: record.prerequisite_rules.iter().map(RuleRecord::from).collect(),
            install: InstallRecord {
                switch: record.install.switch,
                before: hooks(&record.install.before),
                after: hooks(&record.install.after),
                rollback: hooks(&record.install.rollback),
                health: record.install.health.as_ref().map(|health| HealthRecord {
                    hook: HookRecord::from(&health.hook),
                    attempts: health.attempts,
                    interval_s: health.interval_s,
                }),
            },
            rings: record.rings.clone(),
            rollout_percent: record.rollout_percent,
            rollout_when: record.rollout_when.clone(),
            withdrawn: record.withdrawn.clone(),
        }
    }
}

impl From<&Hook> for HookRecord {
    fn from(hook: &Hook) -> Self {
        HookRecord {
            program: hook.program.clone(),
            args: hook.args.clone(),
            env: hook.env.clone(),
            time_limit_s: hook.time_limit_s,
            run_as: hook.run_as.clone(),
        }
    }
}

impl From<&Redistributable> for RedistRecord {
    fn from(redist: &Redistributable) -> Self {
        RedistRecord {
            name: redist.name.clone(),
            target: redist.target.clone(),
            length: redist.length,
            sha256: redist.sha256.clone(),
        }
    }
}

impl From<&Feature> for FeatureRecord {
    fn from(feature: &Feature) -> Self {
        FeatureRecord {
            guid: feature.guid.to_string(),
            name: feature.name.clone(),
            description: feature.description.clone(),
            pre_release: feature.pre_release,
            default_on: feature.default_on,
            more_info: feature.more_info.clone(),
        }
    }
}

impl From<&PrerequisiteRule> for RuleRecord {
    fn from(rule: &PrerequisiteRule) -> Self {
        let severity = match rule.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        RuleRecord {
            name: rule.name.clone(),
            category: rule.category.clone(),
            role: rule.role.clone(),
            severity: severity.to_owned(),
            rule: rule.rule.clone(),
            text: rule.text.clone(),
            link: rule.link.clone(),
        }
    }
}
