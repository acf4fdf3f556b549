//! `ftl.v1.EgressService`: rules of the proxy, its questions, its ledger.

use std::sync::Arc;

use ftl_core::egress::policy::{Source, Verdict};
use ftl_core::egress::rule::Rule;
use ftl_core::id::SessionId;
use ftl_proto::v1;
use ftl_proto::v1::egress_service_server::EgressService;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::convert;
use super::event::streamed;
use super::status::status;
use crate::session::outlet::{self, Answered, Named, Numbered, Row, RuleScope, Wanted};
use crate::session::{Error, Sessions};

/// The service over the sessions' outlets.
pub(super) struct EgressApi(pub(super) Arc<Sessions>);

impl EgressApi {
    fn session(&self, text: &str) -> Result<Option<SessionId>, Status> {
        match text {
            "" => Ok(None),
            text => super::resolve(&self.0, text).map(Some),
        }
    }

    fn scope(&self, scope: v1::RuleScope, session: &str, project: Vec<u8>) -> Result<RuleScope, Status> {
        match scope {
            v1::RuleScope::Session => {
                let session = super::resolve(&self.0, session)?;
                Ok(RuleScope::Session(session))
            }
            v1::RuleScope::Global => Ok(RuleScope::Global),
            v1::RuleScope::Project | v1::RuleScope::Unspecified => {
                let project = convert::absolute(project, "project")?;
                let root = self.0.project_root(&project).map_err(|error| status(&error))?;
                Ok(RuleScope::Project(root))
            }
        }
    }

    /// Where a rule of the human's lies that was listed for a scope.
    fn lies(&self, source: &Source, scope: &RuleScope, project: &[u8]) -> Result<RuleScope, Status> {
        match (source, scope) {
            (Source::Global, _) => Ok(RuleScope::Global),
            (Source::Project, RuleScope::Session(_)) => {
                self.scope(v1::RuleScope::Project, "", project.to_vec())
            }
            _ => Ok(scope.clone()),
        }
    }

    /// Reads and searches the audit log on a thread that may wait.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Sessions) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Status> {
        let sessions = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || read(&sessions))
            .await
            .map_err(|_| Status::internal("reading was interrupted"))?
            .map_err(|error| status(&error))
    }
}

#[tonic::async_trait]
impl EgressService for EgressApi {
    async fn show_policy(
        &self,
        request: Request<v1::ShowPolicyRequest>,
    ) -> Result<Response<v1::ShowPolicyReply>, Status> {
        let request = request.into_inner();
        let session = self.session(&request.session)?;
        let project = convert::optional_project(request.project)?;
        let layered = self.0.rules(session.as_ref(), &project).await.map_err(|error| status(&error))?;
        let policy = layered.policy(0);
        let rules = policy.rules();
        Ok(Response::new(v1::ShowPolicyReply {
            preset: layered.preset.to_string(),
            rules: (1..)
                .zip(rules)
                .map(|(number, (rule, source))| v1::PolicyRule {
                    text: rule.to_string(),
                    source: source.to_string(),
                    number,
                })
                .collect(),
            problem: layered.problem.unwrap_or_default(),
        }))
    }

    async fn add_rule(
        &self,
        request: Request<v1::AddRuleRequest>,
    ) -> Result<Response<v1::AddRuleReply>, Status> {
        let request = request.into_inner();
        let rule = rule(&request.rule)?;
        let scope = self.scope(request.scope(), &request.session, request.project)?;
        self.0.add_rule(&scope, &rule).map_err(|error| status(&error))?;
        let warning = rule.warning().unwrap_or_default();
        Ok(Response::new(v1::AddRuleReply { rule: rule.to_string(), warning }))
    }

    async fn remove_rule(
        &self,
        request: Request<v1::RemoveRuleRequest>,
    ) -> Result<Response<v1::RemoveRuleReply>, Status> {
        let request = request.into_inner();
        let scope = self.scope(request.scope(), &request.session, request.project.clone())?;
        let named = self.0.named_rule(&scope, &request.project, &request.rule).await;
        let reply = match named.map_err(|error| status(&error))? {
            Named::One(one) => {
                let lies = self.lies(&one.source, &scope, &request.project)?;
                let removed = self.0.remove_rule(&lies, &one.rule).map_err(|error| status(&error))?;
                v1::RemoveRuleReply { removed, rule: Some(numbered(one)), candidates: Vec::new() }
            }
            Named::Several(all) => v1::RemoveRuleReply {
                candidates: all.into_iter().map(numbered).collect(),
                ..Default::default()
            },
            Named::Foreign(one) => v1::RemoveRuleReply { rule: Some(numbered(one)), ..Default::default() },
            Named::Nothing => v1::RemoveRuleReply::default(),
        };
        Ok(Response::new(reply))
    }

    async fn test_policy(
        &self,
        request: Request<v1::TestPolicyRequest>,
    ) -> Result<Response<v1::TestPolicyReply>, Status> {
        let request = request.into_inner();
        let session = self.session(&request.session)?;
        let project = convert::optional_project(request.project)?;
        let judged = self
            .0
            .judge(&request.method, &request.url, session.as_ref(), &project)
            .await
            .map_err(|error| status(&error))?;
        let explanation = judged.explanation;
        let hint = match &explanation.verdict {
            Verdict::Allow(_) => String::new(),
            Verdict::Deny(denial) => denial.hint.clone(),
        };
        Ok(Response::new(v1::TestPolicyReply {
            allowed: matches!(explanation.verdict, Verdict::Allow(_)),
            rule: explanation.decided.as_ref().map(|(rule, _)| rule.clone()).unwrap_or_default(),
            source: explanation.decided.map(|(_, source)| source.to_string()).unwrap_or_default(),
            reason: explanation.sentence,
            credentials: judged.credentials.iter().map(ToString::to_string).collect(),
            hint,
            address: judged.address.map(|address| address.to_string()).unwrap_or_default(),
            unresolved: judged.unresolved,
            problem: judged.problem.unwrap_or_default(),
        }))
    }

    async fn suggest_rules(
        &self,
        request: Request<v1::SuggestRulesRequest>,
    ) -> Result<Response<v1::SuggestRulesReply>, Status> {
        let request = request.into_inner();
        let project = convert::optional_project(request.project)?;
        let session = self.0.resolve(&request.session, &project).map_err(|error| status(&error))?;
        let suggested = self.read(move |sessions| sessions.suggest(&session)).await?;
        let rules = suggested
            .into_iter()
            .map(|one| v1::SuggestedRule {
                rule: one.rule.to_string(),
                requests: one.count,
                name_only: one.name_only,
            })
            .collect();
        Ok(Response::new(v1::SuggestRulesReply { rules }))
    }

    async fn answer(&self, request: Request<v1::AnswerRequest>) -> Result<Response<v1::AnswerReply>, Status> {
        let request = request.into_inner();
        let session = super::resolve(&self.0, &request.session)?;
        let answered = match request.answer() {
            v1::EgressAnswer::Once => Answered::Once,
            v1::EgressAnswer::Session => Answered::Session,
            v1::EgressAnswer::Always => Answered::Always,
            v1::EgressAnswer::No => Answered::No,
            v1::EgressAnswer::Unspecified => return Err(Status::invalid_argument("`answer` is not set")),
        };
        let waiting =
            self.0.answer_egress(&session, request.ask, answered).map_err(|error| status(&error))?;
        Ok(Response::new(v1::AnswerReply { waiting }))
    }

    type LedgerStream = ReceiverStream<Result<v1::LedgerRow, Status>>;

    async fn ledger(
        &self,
        request: Request<v1::LedgerRequest>,
    ) -> Result<Response<Self::LedgerStream>, Status> {
        let request = request.into_inner();
        let session = self.session(&request.session)?.map(String::from).unwrap_or_default();
        let project = convert::optional_project(request.project)?;
        let (since_us, limit) = (request.since_us, request.limit as usize);
        let wanted = Wanted { session, project, since_us, limit };
        let audit = Arc::clone(&self.0.parts().audit);
        Ok(Response::new(streamed(move |show| {
            outlet::rows(&*audit, &wanted, |row| show(wire(row))).map_err(Error::from)
        })))
    }
}

fn rule(text: &str) -> Result<Rule, Status> {
    text.parse().map_err(|source| status(&Error::BadRule { rule: text.chars().take(200).collect(), source }))
}

fn numbered(one: Numbered) -> v1::PolicyRule {
    let number = u32::try_from(one.number).unwrap_or(u32::MAX);
    v1::PolicyRule { text: one.rule.to_string(), source: one.source.to_string(), number }
}

fn wire(row: Row) -> v1::LedgerRow {
    v1::LedgerRow {
        time_us: row.time_us,
        session: row.session,
        decision: if row.allowed { "allowed".into() } else { "refused".into() },
        method: row.method,
        authority: row.authority,
        path: row.path,
        rule: row.rule,
        reason: row.reason,
        credentials: row.credentials,
        status: row.status,
        bytes_up: row.bytes_up,
        bytes_down: row.bytes_down,
        count: row.count,
        source: row.source,
        end: row.end,
        unsent: row.unsent,
    }
}
