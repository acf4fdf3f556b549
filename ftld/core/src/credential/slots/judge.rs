//! The judgement over one request: every place that can hold a credential is looked at once.
//!
//! Owns the order of the questions: is a place one for credentials, does it hold a shadow as the whole
//! field, is the place declared, and is there a shadow where none belongs. Must not know real values.

use http::header::{AUTHORIZATION, HeaderName, PROXY_AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};

use super::{Fill, Half, Held, Outgoing, Place, Plan, Signing, SlotRefusal, TokenEndpoint};
use crate::credential::basic::{Basic, after_scheme};
use crate::credential::{Binding, CredentialName, Grant, Slot, carriers, query};
use crate::egress::path;
use crate::sigv4::{Inbound, SigV4Error};

/// Longest half of Basic authentication that can stand beside a credential without looking like one,
/// bytes: as long as a user name can be on the large hosts.
const LONGEST_USER: usize = 39;
/// Longest header name in a refusal, bytes.
const LONGEST_PLACE: usize = 64;
const SECURITY_TOKEN: &str = "x-amz-security-token";

pub(super) struct Judge<'a> {
    held: &'a Held,
    request: &'a Outgoing<'a>,
    /// Bindings for this host and port; without TLS, for this host and any port.
    reaching: Vec<(&'a Grant, &'a Binding)>,
    /// Those of them that this request may use.
    candidates: Vec<(&'a Grant, &'a Binding)>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(held: &'a Held, request: &'a Outgoing<'a>) -> Self {
        let bindings =
            held.grants().iter().flat_map(|grant| grant.bindings.iter().map(move |one| (grant, one)));
        let reaching: Vec<_> = bindings.filter(|(_, binding)| is_own(binding, request)).collect();
        let allows = |(_, binding): &&(&Grant, &Binding)| request.tls && allows(binding, request);
        let candidates = reaching.iter().filter(allows).copied().collect();
        Self { held, request, reaching, candidates }
    }

    pub(super) fn plan(&self) -> Result<Plan, SlotRefusal> {
        let mut plan = Plan { credentialed: !self.reaching.is_empty(), ..Plan::default() };
        if plan.credentialed {
            plan.carriers = self.slot_headers();
            plan.signing = self.signature()?;
            self.headers(&mut plan)?;
            self.query(&mut plan)?;
            plan.endpoint = self.endpoint();
            self.check_missing(&plan)?;
        }
        self.check_elsewhere(&plan)?;
        Ok(plan)
    }

    /// Headers that some binding of this host declares.
    fn slot_headers(&self) -> Vec<HeaderName> {
        let slots = self.reaching.iter().flat_map(|(_, binding)| &binding.slots);
        let names = slots.filter_map(|slot| match slot {
            Slot::Header { name, .. } => HeaderName::from_bytes(name.as_bytes()).ok(),
            _ => None,
        });
        names.filter(|name| name != PROXY_AUTHORIZATION).collect()
    }

    fn headers(&self, plan: &mut Plan) -> Result<(), SlotRefusal> {
        for name in self.request.headers.keys() {
            let carrier = carriers::is_carrier(name.as_str()) || plan.carriers.contains(name);
            // The proxy's own is taken out and goes nowhere.
            if !carrier || name == PROXY_AUTHORIZATION || is_signed(plan, name) {
                continue;
            }
            let place = || header_place(name);
            let mut values = self.request.headers.get_all(name).iter();
            let value = match (values.next(), values.next()) {
                (Some(value), None) => value,
                _ => return Err(SlotRefusal::Duplicate { place: place() }),
            };
            if value.as_bytes().iter().all(|byte| *byte == b' ') {
                continue;
            }
            let place = match value.to_str() {
                Ok(text) => {
                    self.header(name, text)?.ok_or_else(|| self.stranger(value.as_bytes(), place()))?
                }
                Err(_) => return Err(self.stranger(value.as_bytes(), place())),
            };
            plan.fills.push(Fill { place });
        }
        match carriers::in_subprotocols(self.request.headers) {
            Some(value) => Err(self.stranger(value.as_bytes(), header_place(&SEC_WEBSOCKET_PROTOCOL))),
            None => Ok(()),
        }
    }

    /// The declared slot whose whole field this value is.
    fn header(&self, name: &HeaderName, value: &str) -> Result<Option<Place>, SlotRefusal> {
        for (grant, slot) in self.slots() {
            let Slot::Header { name: declared, format } = slot else { continue };
            if declared == name.as_str() && unformat(value, format).is_some_and(|field| field == grant.shadow)
            {
                let (name, format) = (name.clone(), format.clone());
                return Ok(Some(Place::Header { name, format, credential: grant.name.clone() }));
            }
        }
        match Basic::read(value).filter(|_| name == AUTHORIZATION) {
            Some(basic) => self.basic(&basic),
            None => Ok(None),
        }
    }

    fn basic(&self, basic: &Basic) -> Result<Option<Place>, SlotRefusal> {
        let credential = |half: &str, wanted: &Slot| {
            let fits = |(grant, slot): &(&Grant, &Slot)| *slot == wanted && grant.shadow == half;
            self.slots().find(fits).map(|(grant, _)| grant.name.clone())
        };
        let user = credential(&basic.user, &Slot::BasicUser);
        let password = credential(&basic.password, &Slot::BasicPassword);
        if user.is_none() && password.is_none() {
            return Ok(None);
        }
        // Some hosts take a credential in either half, and would take another's before ours.
        let keep = |half: &str| {
            let token = half.len() > LONGEST_USER && !half.contains('@');
            match token || !self.held.within(half.as_bytes()).is_empty() {
                true => Err(self.stranger(half.as_bytes(), header_place(&AUTHORIZATION))),
                false => Ok(Half::Kept(half.to_owned())),
            }
        };
        let user = user.map_or_else(|| keep(&basic.user), |name| Ok(Half::Credential(name)))?;
        let password = password.map_or_else(|| keep(&basic.password), |name| Ok(Half::Credential(name)))?;
        Ok(Some(Place::Basic { user, password }))
    }

    /// The signature that is made anew, when there is one.
    fn signature(&self) -> Result<Option<Signing>, SlotRefusal> {
        let signs = |binding: &Binding| binding.slots.iter().any(|slot| matches!(slot, Slot::SigV4 { .. }));
        if !self.reaching.iter().any(|(_, binding)| signs(binding)) {
            return Ok(None);
        }
        let parameters = query::parameters(self.request.query.unwrap_or_default());
        if parameters.iter().any(|parameter| carriers::is_signed_url(&parameter.name)) {
            return Err(SigV4Error::Presigned.into());
        }
        let mut values = self.request.headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return Ok(None) };
        if !value.as_bytes().starts_with(b"AWS4-") {
            return Ok(None);
        }
        let inbound = Inbound::parse(value.to_str().map_err(|_| SigV4Error::Malformed)?)?;
        for (grant, slot) in self.slots() {
            let Slot::SigV4 { key_id, token } = slot else { continue };
            if self.held.by_shadow(&inbound.key_id).is_none_or(|found| &found.name != key_id) {
                continue;
            }
            inbound.fits(self.request.authority)?;
            inbound.payload(self.request.headers)?;
            return Ok(Some(Signing {
                secret: grant.name.clone(),
                key_id: key_id.clone(),
                token: self.session_token(token.as_ref())?,
                shadow_secret: grant.shadow.clone(),
                inbound,
            }));
        }
        Err(self.stranger(inbound.key_id.as_bytes(), header_place(&AUTHORIZATION)))
    }

    /// The session token of a signature: none, or the one that belongs to the key.
    fn session_token(&self, token: Option<&CredentialName>) -> Result<Option<CredentialName>, SlotRefusal> {
        let grant = token.and_then(|name| self.held.grant(name));
        let mut values = self.request.headers.get_all(SECURITY_TOKEN).iter();
        let place = format!("header {SECURITY_TOKEN}");
        match (values.next(), values.next()) {
            (None, _) => {}
            (Some(value), None) if grant.is_some_and(|grant| grant.shadow.as_bytes() == value.as_bytes()) => {
            }
            (Some(value), None) => return Err(self.stranger(value.as_bytes(), place)),
            (Some(_), Some(_)) => return Err(SlotRefusal::Duplicate { place }),
        }
        Ok(grant.map(|grant| grant.name.clone()))
    }

    fn query(&self, plan: &mut Plan) -> Result<(), SlotRefusal> {
        let text = self.request.query.unwrap_or_default();
        let parameters = query::parameters(text);
        let mut seen: Vec<String> = Vec::new();
        for (at, parameter) in parameters.iter().enumerate() {
            let declared = |(_, slot): &(&Grant, &Slot)| matches!(slot, Slot::Query { name } if name.eq_ignore_ascii_case(&parameter.name));
            let is_slot = self.all_slots().any(|slot| declared(&slot));
            if parameter.value.is_empty()
                || !(is_slot || carriers::is_query_carrier(&parameter.name, &parameter.value))
            {
                continue;
            }
            let lower = parameter.name.to_ascii_lowercase();
            let place = query_place(&lower);
            if seen.contains(&lower) {
                return Err(SlotRefusal::Duplicate { place });
            }
            seen.push(lower);
            let fits = |(grant, slot): &(&Grant, &Slot)| {
                matches!(slot, Slot::Query { name } if *name == parameter.name)
                    && grant.shadow == parameter.value
            };
            let Some((grant, _)) = self.slots().find(fits) else {
                return Err(self.stranger(parameter.value.as_bytes(), place));
            };
            let (shadow, credential) = (grant.shadow.clone(), grant.name.clone());
            plan.fills.push(Fill { place: Place::Query { at, shadow, credential } });
        }
        let foreign = |one: &query::Parameter| carriers::is_query_carrier(&one.name, &one.value);
        match query::hidden_parameters(text).into_iter().find(foreign) {
            Some(hidden) => Err(SlotRefusal::ForeignCredential { place: query_place(&hidden.name) }),
            None => Ok(()),
        }
    }

    /// The token endpoint that this is, when it is one.
    fn endpoint(&self) -> Option<TokenEndpoint> {
        let here = |slot: &Slot| matches!(slot, Slot::OAuthRefresh { path } if path == self.request.path);
        if self.request.method != "POST" || self.request.path_is_odd {
            return None;
        }
        let found = self.slots().filter(|(_, slot)| here(slot));
        let credentials: Vec<_> =
            found.map(|(grant, _)| (grant.name.clone(), grant.shadow.clone())).collect();
        (!credentials.is_empty()).then_some(TokenEndpoint { credentials })
    }

    /// A request without any credential is forwarded only where some binding says that it may be.
    fn check_missing(&self, plan: &Plan) -> Result<(), SlotRefusal> {
        let elsewhere = |slot: &Slot| !matches!(slot, Slot::OAuthRefresh { .. });
        let wants = |(_, binding): &&(&Grant, &Binding)| binding.slots.iter().any(elsewhere);
        let mut wanting = self.candidates.iter().filter(wants).peekable();
        let first = wanting.peek().map(|(grant, _)| grant.name.clone());
        match first {
            Some(name) if plan.is_empty() && wanting.all(|(_, binding)| !binding.optional) => {
                Err(SlotRefusal::CredentialMissing { name })
            }
            _ => Ok(()),
        }
    }

    /// No shadow goes to a host that is not its own, wherever it stands. On its own host it is inert
    /// outside the places for credentials, which were judged before.
    fn check_elsewhere(&self, plan: &Plan) -> Result<(), SlotRefusal> {
        let filled = |name: &HeaderName| plan.fills.iter().any(|fill| fill.place.header() == Some(name));
        for (name, value) in self.request.headers {
            if name != PROXY_AUTHORIZATION && !filled(name) && !is_signed(plan, name) {
                self.check_text(value.as_bytes(), || header_place(name))?;
            }
        }
        self.check_text(self.request.query.unwrap_or_default().as_bytes(), || "the query".to_owned())?;
        self.check_text(self.request.path.as_bytes(), || "the path".to_owned())
    }

    fn check_text(&self, text: &[u8], place: impl Fn() -> String) -> Result<(), SlotRefusal> {
        for grant in self.held.within(text) {
            let name = grant.name.clone();
            match self.is_own(grant) {
                false => return Err(SlotRefusal::ShadowElsewhere { name, place: place() }),
                true if !self.request.tls => return Err(SlotRefusal::PlainHttp { name }),
                true => {}
            }
        }
        Ok(())
    }

    /// Why a value must not stand in a place for credentials.
    fn stranger(&self, value: &[u8], place: String) -> SlotRefusal {
        let decoded = std::str::from_utf8(value).ok().and_then(Basic::read);
        let halves = decoded.iter().flat_map(|basic| [basic.user.as_bytes(), basic.password.as_bytes()]);
        let Some(grant) =
            [value].into_iter().chain(halves).find_map(|text| self.held.within(text).first().copied())
        else {
            return SlotRefusal::ForeignCredential { place };
        };
        let name = grant.name.clone();
        let candidate = self.candidates.iter().any(|(one, _)| one.name == name);
        match (self.is_own(grant), self.request.tls) {
            (false, _) => SlotRefusal::ShadowElsewhere { name, place },
            (true, false) => SlotRefusal::PlainHttp { name },
            (true, true) if candidate => SlotRefusal::WrongSlot { name, place },
            (true, true) => SlotRefusal::OutsideBinding { name },
        }
    }

    /// Whether a grant is for this host, by itself or as a part of a signature.
    fn is_own(&self, grant: &Grant) -> bool {
        let names = |slot: &Slot| {
            matches!(slot, Slot::SigV4 { key_id, token }
                if *key_id == grant.name || token.as_ref() == Some(&grant.name))
        };
        self.reaching.iter().any(|(own, binding)| own.name == grant.name || binding.slots.iter().any(names))
    }

    /// Slots that this request may use.
    fn slots(&self) -> impl Iterator<Item = (&'a Grant, &'a Slot)> {
        self.candidates
            .iter()
            .flat_map(|(grant, binding)| binding.slots.iter().map(move |slot| (*grant, slot)))
    }

    /// Slots of this host.
    fn all_slots(&self) -> impl Iterator<Item = (&'a Grant, &'a Slot)> {
        self.reaching.iter().flat_map(|(grant, binding)| binding.slots.iter().map(move |slot| (*grant, slot)))
    }
}

/// Whether a binding is for the request's host. Without TLS nothing is ever put in, so the port does not
/// matter: a shadow or another's credential is as misplaced on port 80 as on 443.
fn is_own(binding: &Binding, request: &Outgoing<'_>) -> bool {
    match request.tls {
        true => binding.reaches(request.authority),
        false => binding.hosts.iter().any(|pattern| pattern.matches(&request.authority.host)),
    }
}

/// Whether method and path are those of a binding.
fn allows(binding: &Binding, request: &Outgoing<'_>) -> bool {
    let method = binding.methods.is_empty() || binding.methods.iter().any(|one| one == request.method);
    let below = |prefix: &String| prefix.starts_with('/') && path::below(request.path, prefix);
    let path = binding.paths.is_empty() || (!request.path_is_odd && binding.paths.iter().any(below));
    method && path
}

/// The field within a value of this format. What stands before a space is an authentication scheme, whose
/// case and number of spaces do not matter.
fn unformat<'v>(value: &'v str, format: &str) -> Option<&'v str> {
    let (before, after) = format.split_once("{}")?;
    let field = match before.strip_suffix(' ') {
        Some(scheme) if !scheme.contains(' ') => after_scheme(value, scheme)?,
        _ => value.trim_matches(' ').strip_prefix(before)?,
    };
    field.strip_suffix(after)
}

/// Whether a header is part of a signature that is made anew.
fn is_signed(plan: &Plan, name: &HeaderName) -> bool {
    plan.signing.is_some() && (name == AUTHORIZATION || name.as_str() == SECURITY_TOKEN)
}

fn header_place(name: &HeaderName) -> String {
    format!("header {}", name.as_str().get(..LONGEST_PLACE).unwrap_or(name.as_str()))
}

fn query_place(name: &str) -> String {
    format!("query parameter {}", name.chars().take(LONGEST_PLACE).collect::<String>().escape_debug())
}
