//! The JSON of rules, credentials and the ledger.

use super::*;

/// The rules that count.
pub(crate) fn policy(reply: &v1::ShowPolicyReply) -> Value {
    let rule =
        |rule: &v1::PolicyRule| json!({"number": rule.number, "rule": rule.text, "source": rule.source});
    let mut object =
        fields(json!({"preset": reply.preset, "rules": reply.rules.iter().map(rule).collect::<Vec<_>>()}));
    put_unless_empty(&mut object, "problem", &reply.problem);
    Value::Object(object)
}

/// What would become of a request.
pub(crate) fn verdict(request: &v1::TestPolicyRequest, reply: &v1::TestPolicyReply) -> Value {
    let mut object = fields(json!({
        "url": request.url,
        "method": request.method,
        "allowed": reply.allowed,
        "rule": reply.rule,
        "source": reply.source,
        "reason": reply.reason,
        "credentials": reply.credentials,
    }));
    put_unless_empty(&mut object, "hint", &reply.hint);
    put_unless_empty(&mut object, "address", &reply.address);
    object.insert("unresolved".to_owned(), json!(reply.unresolved));
    put_unless_empty(&mut object, "problem", &reply.problem);
    Value::Object(object)
}

/// The rules that would have helped.
pub(crate) fn suggestions(reply: &v1::SuggestRulesReply) -> Vec<Value> {
    let one = |rule: &v1::SuggestedRule| json!({"rule": rule.rule, "requests": rule.requests, "name_only": rule.name_only});
    reply.rules.iter().map(one).collect()
}

/// A request that wanted to leave.
pub(crate) fn ledger(row: &v1::LedgerRow) -> Value {
    let mut object = fields(json!({
        "time": measure::time(row.time_us),
        "session": row.session,
        "decision": row.decision,
        "method": row.method,
        "authority": row.authority,
        "path": row.path,
        "rule": row.rule,
        "credentials": row.credentials,
        "status": row.status,
        "bytes_up": row.bytes_up,
        "bytes_down": row.bytes_down,
        "count": row.count,
    }));
    put_unless_empty(&mut object, "reason", &row.reason);
    put_unless_empty(&mut object, "source", &row.source);
    put_unless_empty(&mut object, "end", &row.end);
    if row.unsent {
        object.insert("unsent".to_owned(), json!(true));
    }
    Value::Object(object)
}

/// What left the sandbox in a turn.
pub(crate) fn totals(totals: &v1::EgressTotals) -> Value {
    json!({
        "requests": totals.requests,
        "refused": totals.refused,
        "bytes_up": totals.bytes_up,
        "bytes_down": totals.bytes_down,
        "authorities": totals.authorities,
        "credentials": totals.credentials,
    })
}

/// A credential without its value.
pub(crate) fn secret(secret: &v1::Secret) -> Value {
    let mut object = fields(json!({
        "name": secret.name,
        "source": secret.source,
        "vendor": secret.vendor,
        "bindings": secret.bindings,
        "hosts": secret.hosts,
    }));
    if !secret.project.is_empty() {
        put_bytes(&mut object, "project", &secret.project);
    }
    put_unless_empty(&mut object, "problem", &secret.problem);
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_and_rows_have_the_documented_keys() {
        let rule = v1::PolicyRule { text: "allow a".into(), source: "project".into(), number: 1 };
        let reply =
            v1::ShowPolicyReply { preset: "locked".into(), rules: vec![rule], problem: String::new() };
        assert_eq!(
            policy(&reply),
            json!({"preset": "locked", "rules": [{"number": 1, "rule": "allow a", "source": "project"}]})
        );
        let row = v1::LedgerRow { reason: "denied".into(), ..Default::default() };
        assert_eq!(ledger(&row)["reason"], "denied");
        assert_eq!(ledger(&v1::LedgerRow::default()).get("reason"), None);
    }

    #[test]
    fn a_credential_has_no_value_and_names_its_project_exactly() {
        let shown =
            secret(&v1::Secret { name: "K".into(), project: b"/p\xff".to_vec(), ..Default::default() });
        let keys: Vec<_> = shown.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["bindings", "hosts", "name", "project", "project_bytes", "source", "vendor"]);
    }
}
