//! Tests of the catalogue: that its data is sane, and whose a value is.

use super::*;

fn builtin() -> &'static Catalogue {
    assert_eq!(Catalogue::builtin_fault(), None);
    Catalogue::builtin()
}

fn vendor(id: &str) -> &'static Vendor {
    builtin().vendors().iter().find(|vendor| vendor.id == id).expect(id)
}

fn recognised(name: &str, value: &str) -> String {
    match builtin().recognise(name, value) {
        Ok(vendor) => vendor.id.clone(),
        Err(Unrecognised::Unknown) => "unknown".to_owned(),
        Err(Unrecognised::Ambiguous(_)) => "ambiguous".to_owned(),
    }
}

fn name(text: &str) -> CredentialName {
    CredentialName::parse(text).unwrap()
}

#[test]
fn the_builtin_catalogue_is_sane() {
    assert!(builtin().vendors().len() > 80);
    for vendor in builtin().vendors() {
        let id = &vendor.id;
        for variable in &vendor.variables {
            let owners = builtin().by_name(variable);
            assert_eq!(owners.iter().map(|owner| &owner.id).collect::<Vec<_>>(), [id], "{variable}");
        }
        for template in &vendor.templates {
            let binding = &template.binding;
            assert_eq!(binding.port, 443, "{id}");
            let single =
                binding.slots.iter().all(|slot| binding.slots.iter().filter(|it| *it == slot).count() == 1);
            assert!(single, "{id}: a slot stands there twice");
            let wild = |host: &HostPattern| matches!(host, HostPattern::Below(_));
            assert!(template.beside.is_empty() || binding.hosts.iter().any(wild), "{id}: nothing to narrow");
        }
        assert!(vendor.is_supported() || !vendor.note.is_empty(), "{id}: bound to nothing, and no word why");
        assert!(vendor.note.is_empty() || vendor.note.ends_with('.'), "{id}");
    }
}

#[test]
fn hosts_that_customers_answer_under_are_bound_only_to_the_customers_own() {
    let tenants = ["supabase.co", "upstash.io", "grafana.net"];
    for vendor in builtin().vendors() {
        for template in &vendor.templates {
            let open = template
                .binding
                .hosts
                .iter()
                .any(|host| tenants.iter().any(|it| host.to_string().ends_with(it)));
            assert!(!open || template.must_narrow, "{}", vendor.id);
            // A signature is worth nothing elsewhere; any other credential is.
            let signed = template.binding.slots.iter().all(|slot| matches!(slot, Slot::SigV4 { .. }));
            let cloud = template.binding.hosts.iter().any(|host| host.to_string() == "*.amazonaws.com");
            assert!(!cloud || signed, "{}", vendor.id);
        }
    }
}

#[test]
fn a_value_belongs_to_whom_it_begins_as_and_else_to_whom_its_name_says() {
    let long = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8";
    let hex = "0123456789abcdef0123456789abcdef";
    for (name, value, expected) in [
        ("ANTHROPIC_API_KEY", format!("sk-ant-api03-{long}"), "anthropic"),
        ("X", format!("sk-ant-api03-{long}"), "anthropic"),
        ("ANTHROPIC_API_KEY", format!("sk-ant-oat01-{long}"), "anthropic-oauth"),
        ("X", format!("sk-ant-ort01-{long}"), "anthropic-refresh"),
        ("ANTHROPIC_AUTH_TOKEN", "anything".to_owned(), "anthropic-oauth"),
        ("OPENAI_API_KEY", format!("sk-proj-{long}"), "openai"),
        ("OPENAI_API_KEY", format!("sk-{long}"), "openai"),
        ("OPENAI_API_KEY", format!("sk-or-v1-{hex}"), "openrouter"),
        ("OPENAI_API_KEY", format!("gsk_{long}{long}"), "groq"),
        ("OPENAI_API_KEY", "lm-studio".to_owned(), "openai"),
        ("STAGING_OPENAI_API_KEY", "x".to_owned(), "openai"),
        ("openai_api_key_2", "x".to_owned(), "openai"),
        ("OPENAI_API_KEY_PROD", "x".to_owned(), "openai"),
        ("AZURE_OPENAI_API_KEY", hex.to_owned(), "azure-openai"),
        ("DEEPSEEK_API_KEY", format!("sk-{hex}"), "deepseek"),
        ("LITELLM_MASTER_KEY", format!("sk-{hex}"), "unknown"),
        ("X", "sk-abcdT3BlbkFJabcd".to_owned(), "openai"),
        ("GEMINI_API_KEY", "AIzaSyA1234567890abcdefghijklmnopqrstuv".to_owned(), "gemini"),
        ("GOOGLE_MAPS_API_KEY", "AIzaSyA1234567890abcdefghijklmnopqrstuv".to_owned(), "google-maps"),
        ("GITHUB_TOKEN", format!("ghp_{long}"), "github"),
        ("NODE_AUTH_TOKEN", format!("ghp_{long}"), "github"),
        ("NODE_AUTH_TOKEN", format!("npm_{long}"), "npm"),
        ("DEPLOY", format!("github_pat_{long}"), "github"),
        ("CI_JOB", format!("glpat-{long}"), "gitlab"),
        ("STRIPE_SECRET_KEY", "sk_test_abcdefgh12345678".to_owned(), "stripe"),
        ("PAYMENT", "sk_live_abcdefgh12345678".to_owned(), "stripe"),
        ("CLERK_SECRET_KEY", "sk_test_abcdefgh12345678".to_owned(), "clerk"),
        ("X", "rk_live_abcdefgh12345678".to_owned(), "stripe"),
        ("X", format!("xoxb-{long}"), "slack"),
        ("X", format!("xapp-{long}"), "slack"),
        ("ELEVENLABS_API_KEY", "whatever".to_owned(), "elevenlabs"),
        ("X", "AKIAIOSFODNN7EXAMPLE".to_owned(), "aws-key-id"),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(), "aws"),
        ("AWS_SESSION_TOKEN", long.to_owned(), "aws-session"),
        ("X", format!("SG.{long}"), "sendgrid"),
        ("X", "{\"type\": \"service_account\"}".to_owned(), "gcp-service-account"),
        ("X", format!("pypi-{long}"), "pypi"),
        ("X", format!("pypi-AgENdGVzdC5weXBpLm9yZw{long}"), "testpypi"),
        ("X", format!("hf_{long}"), "hugging-face"),
        ("X", format!("dop_v1_{hex}"), "digitalocean"),
        ("X", format!("ATATT3{long}"), "atlassian"),
        ("BITBUCKET_TOKEN", format!("ATATT3{long}"), "bitbucket"),
        ("SOMETHING", long.to_owned(), "unknown"),
        ("MYGITHUB_TOKENS", long.to_owned(), "unknown"),
    ] {
        assert_eq!(recognised(name, &value), expected, "{name}={value}");
    }
}

#[test]
fn several_fitting_vendors_are_none_and_named() {
    let text = "
        [[vendor]]
        id = 'a'
        name = 'A'
        variables = ['COMMON_KEY']
        forms = [{ prefix = 'ab-' }]
        [[vendor]]
        id = 'b'
        name = 'B'
        variables = ['COMMON_KEY']
        forms = [{ prefix = 'ab-' }]";
    let catalogue = Catalogue::parse(text).unwrap();
    let both = Err(Unrecognised::Ambiguous(vec!["A".to_owned(), "B".to_owned()]));
    assert_eq!(catalogue.recognise("COMMON_KEY", "x"), both);
    assert_eq!(catalogue.recognise("X", "ab-12345678"), both);
}

#[test]
fn credentials_go_where_their_vendors_say() {
    for (id, host, slot) in [
        ("anthropic", "api.anthropic.com", "x-api-key: {}"),
        ("anthropic", "api.anthropic.com", "authorization: Bearer {}"),
        ("openai", "api.openai.com", "authorization: Bearer {}"),
        ("gemini", "generativelanguage.googleapis.com", "x-goog-api-key: {}"),
        ("gemini", "generativelanguage.googleapis.com", "query: key"),
        ("github", "github.com", "basic-password"),
        ("github", "api.github.com", "authorization: token {}"),
        ("gitlab", "gitlab.com", "private-token: {}"),
        ("stripe", "api.stripe.com", "basic-user"),
        ("discord", "discord.com", "authorization: Bot {}"),
        ("pypi", "upload.pypi.org", "basic-password"),
        ("crates-io", "crates.io", "authorization: {}"),
        ("npm", "registry.npmjs.org", "authorization: Bearer {}"),
        ("datadog", "api.datadoghq.com", "dd-api-key: {}"),
        ("aws", "s3.eu-central-1.amazonaws.com", "sigv4: AWS_ACCESS_KEY_ID AWS_SESSION_TOKEN"),
    ] {
        let bindings = vendor(id).bindings(&name("X"), &[]);
        let authority = Authority::parse(host, Some(443)).unwrap();
        let fits = bindings.iter().filter(|binding| binding.reaches(&authority));
        assert!(
            fits.flat_map(|binding| &binding.slots).any(|it| it.to_string() == slot),
            "{id} {host} {slot}"
        );
        let elsewhere = Authority::parse(&format!("{host}.evil.example"), Some(443)).unwrap();
        assert!(!bindings.iter().any(|binding| binding.reaches(&elsewhere)), "{id}");
    }
}

#[test]
fn a_signature_takes_its_key_id_from_beside_it() {
    let slots = |text: &str| vendor("aws").bindings(&name(text), &[])[0].slots[0].to_string();
    assert_eq!(slots("AWS_SECRET_ACCESS_KEY"), "sigv4: AWS_ACCESS_KEY_ID AWS_SESSION_TOKEN");
    assert_eq!(
        slots("BACKUP_AWS_SECRET_ACCESS_KEY"),
        "sigv4: BACKUP_AWS_ACCESS_KEY_ID BACKUP_AWS_SESSION_TOKEN"
    );
    assert_eq!(slots("AWS_SECRET_ACCESS_KEY_PROD"), "sigv4: AWS_ACCESS_KEY_ID_PROD AWS_SESSION_TOKEN_PROD");
}

#[test]
fn a_tenants_host_is_taken_from_beside_the_key() {
    let hosts = |id: &str, key: &str, beside: &[(&str, &str)]| {
        let bindings = vendor(id).bindings(&name(key), beside);
        bindings.iter().flat_map(|it| &it.hosts).map(ToString::to_string).collect::<Vec<_>>()
    };
    let url = [("NEXT_PUBLIC_SUPABASE_URL", "https://abc.supabase.co")];
    assert_eq!(hosts("supabase", "SUPABASE_SERVICE_ROLE_KEY", &url), ["abc.supabase.co"]);
    assert!(hosts("supabase", "SUPABASE_SERVICE_ROLE_KEY", &[]).is_empty());
    // What the variable says is believed only as far as the catalogue allows it.
    for evil in [
        "https://evil.example",
        "https://abc.supabase.co.evil.example",
        "https://abc.supabase.co:8443/x",
        "x y",
    ] {
        assert!(
            hosts("supabase", "SUPABASE_SERVICE_ROLE_KEY", &[("SUPABASE_URL", evil)]).is_empty(),
            "{evil}"
        );
    }
    let endpoint = [("AZURE_OPENAI_ENDPOINT", "https://mine.openai.azure.com/")];
    assert_eq!(hosts("azure-openai", "AZURE_OPENAI_API_KEY", &endpoint), ["mine.openai.azure.com"]);
    assert_eq!(hosts("azure-openai", "AZURE_OPENAI_API_KEY", &[]).len(), 3);
    let bare = [("SHOPIFY_STORE_DOMAIN", "shop.myshopify.com")];
    assert_eq!(hosts("shopify", "SHOPIFY_ACCESS_TOKEN", &bare), ["shop.myshopify.com"]);
}

#[test]
fn a_malformed_catalogue_is_refused_and_says_where() {
    let entry = |rest: &str| format!("[[vendor]]\nid = 'a'\nname = 'A'\nvariables = ['A_KEY']\n{rest}");
    assert!(Catalogue::parse(&entry("")).is_ok());
    for text in [
        "x".to_owned(),
        "[[vendor]]\nid = 'a'\nname = 'A'".to_owned(),
        entry("surprise = 1"),
        entry("forms = [{ prefix = 'a' }]"),
        entry("forms = [{ prefix = 'ab-', rest = 'runes' }]"),
        entry("[[vendor.bind]]\nhosts = []\nslots = ['basic-user']"),
        entry("[[vendor.bind]]\nhosts = ['*']\nslots = ['basic-user']"),
        entry("[[vendor.bind]]\nhosts = ['a.b']\nslots = []"),
        entry("[[vendor.bind]]\nhosts = ['a.b']\nslots = ['host: {}']"),
        entry("[[vendor.bind]]\nhosts = ['a.b']\nslots = ['basic-user']\npaths = ['x']"),
        entry("[[vendor.bind]]\nhosts = ['a.b']\nslots = ['basic-user']\nmethods = ['get']"),
        entry("[[vendor.bind]]\nhosts = ['*.a.b']\nslots = ['basic-user']\nmust_narrow = true"),
        entry("").replace("A_KEY", "a_key"),
        entry("").replace("A_KEY", "A_KEY_PROD"),
        [entry(""), entry("")].concat(),
    ] {
        assert!(Catalogue::parse(&text).is_err(), "{text}");
    }
}
