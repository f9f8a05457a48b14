//! Go templates, as Rancher's `.tpl` files are (<https://pkg.go.dev/text/template>), with the functions
//! of Sprig that they call (<https://masterminds.github.io/sprig/>).
//!
//! The engine is `gtmpl-ng`, within [limits]. A template comes from a stranger; so it runs on a thread of its
//! own whose stack is large enough, what may call itself is refused, and functions make no more than they
//! may before the engine could count it.

mod functions;
mod guard;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use gtmpl_ng::{Context, Limits, Template, Value};
use model::{Error, Result};
use regex::Regex;

/// Largest template.
const MAX_TEMPLATE: usize = 256 << 10;
/// Largest outcome.
const MAX_OUTCOME: usize = 2 << 20;
/// The engine calls itself for what is nested; only what is used of this becomes memory.
const STACK: usize = 64 << 20;
/// Most turns of all loops together.
const TURNS: usize = 10_000;
/// Longest time.
const TIME: Duration = Duration::from_secs(2);

/// What the engine may do for one template.
fn limits() -> Limits {
    Limits::default()
        .with_iterations(TURNS)
        .with_total_iterations(TURNS)
        .with_output_bytes(MAX_OUTCOME)
        .with_function_output(functions::MAX_TEXT)
        .with_deadline(TIME)
}

/// What a template can name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scope<'a> {
    /// `.Values`: answers.
    pub(crate) values: &'a [(String, String)],
    /// `.Stack`: about the app.
    pub(crate) stack: BTreeMap<&'static str, String>,
    /// `.Release`: about the template.
    pub(crate) release: BTreeMap<&'static str, String>,
}

/// Renders a template.
///
/// # Errors
/// `Invalid` for one that cannot be read, calls what is not there, or does not come to an end.
pub(crate) fn render(path: &str, text: &str, scope: &Scope<'_>) -> Result<String> {
    let refused = |why: String| Error::invalid(format!("the Go template {path} {why}"));
    if text.len() > MAX_TEMPLATE {
        return Err(refused(format!("is larger than {} kB", MAX_TEMPLATE >> 10)));
    }
    let first = text.trim_start();
    if ["#notemplating", "# notemplating"].iter().any(|word| first.starts_with(word)) {
        return Ok(text.to_owned());
    }
    guard::check(text).map_err(|why| refused(why.to_owned()))?;
    let context = context(text, scope);
    let text = text.to_owned();
    let work = move || evaluate(&text, context);
    // A panic of the engine, which has some, is a failure of the template.
    let thread = std::thread::Builder::new().name("template".into()).stack_size(STACK).spawn(work);
    let thread = thread.map_err(|error| {
        Error::exhausted("no thread for a template can be started").caused_by(error)
    })?;
    match thread.join() {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(why)) => {
            Err(refused("cannot be rendered".into()).caused_by(std::io::Error::other(why)))
        }
        Err(_) => Err(refused("cannot be read".into())),
    }
}

fn evaluate(text: &str, context: Context) -> std::result::Result<String, String> {
    let mut template = Template::with_limits(limits());
    for (name, function) in functions::TABLE {
        template.add_func(name, *function);
    }
    template.parse(text).map_err(|error| error.to_string())?;
    template.render(&context).map_err(|error| error.to_string())
}

/// What a template sees. As in Go, where the values are texts, one that is not there is empty.
fn context(text: &str, scope: &Scope<'_>) -> Context {
    let named = Regex::new(r"\.Values\.([A-Za-z0-9_]+)").expect("the expression is sound");
    let named = named.captures_iter(text).map(|found| (found[1].to_owned(), Value::from("")));
    let mut values: HashMap<String, Value> = named.collect();
    let given = scope.values.iter();
    values.extend(given.map(|(name, value)| (name.clone(), Value::from(value.as_str()))));
    let about = |map: &BTreeMap<&'static str, String>| {
        let pairs =
            map.iter().map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str())));
        Value::Map(pairs.collect())
    };
    Context::from(Value::Map(HashMap::from([
        ("Values".to_owned(), Value::Map(values)),
        ("Stack".to_owned(), about(&scope.stack)),
        ("Release".to_owned(), about(&scope.release)),
    ])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn try_render(text: &str, values: &[(&str, &str)]) -> Result<String> {
        let values: Vec<(String, String)> =
            values.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let stack = BTreeMap::from([("Name", "shop".to_owned())]);
        render("f.tpl", text, &Scope { values: &values, stack, ..Scope::default() })
    }

    #[test]
    fn what_templates_in_the_wild_say() {
        for (text, values, expected) in [
            ("{{.Values.a}}-{{.Values.none}}", &[("a", "1")][..], "1-"),
            ("{{- if eq .Values.a \"true\" }}\nyes\n{{- end }}", &[("a", "true")], "\nyes"),
            ("{{- if ne .Values.a \"\"}}x{{- else}}y{{- end}}", &[], "y"),
            ("{{- if (.Values.a)}}x{{- end}}", &[("a", "")], ""),
            (
                "{{- if and (ne .Values.a \"\") (.Values.b)}}x{{end}}",
                &[("a", "1"), ("b", "2")],
                "x",
            ),
            ("{{- if (ne .Values.a \"t\") and .Values.b}}x{{end}}", &[("a", "1"), ("b", "2")], "x"),
            ("{{if or .Values.a .Values.b}}x{{end}}", &[("b", "2")], "x"),
            ("{{if eq (printf \"%.1s\" .Values.a) \"/\" }}path{{end}}", &[("a", "/x")], "path"),
            ("{{if not (contains .Values.a \"/\")}}x{{end}}", &[("a", "local")], "x"),
            ("{{if contains \"/\" .Values.a}}x{{end}}", &[("a", "a/b")], "x"),
            ("# notemplating\n{{x}}", &[], "# notemplating\n{{x}}"),
            (
                "{{- range $i, $e := atoi .Values.n | until }}{{$i}}:{{$e}},{{end}}",
                &[("n", "3")],
                "0:0,1:1,2:2,",
            ),
            (
                "{{range $i, $e := splitPreserveQuotes .Values.f}}<{{$e}}>{{end}}",
                &[("f", "--a=1 --b=\"c d\"")],
                "<--a=1><--b=\"c d\">",
            ),
            ("{{- $x:=\"img:v1\" }}{{$x}}", &[], "img:v1"),
            ("{{.Stack.Name}}", &[], "shop"),
            ("{{ .Values.a | default \"d\" | upper | quote }}", &[], "\"D\""),
            ("{{ .Values.a | replace \"-\" \"_\" | trimSuffix \"_x\" }}", &[("a", "b-c-x")], "b_c"),
            ("{{ add 1 2 }}{{ sub 5 1 }}{{ mul 2 3 }}", &[], "346"),
            ("{{ \"a,b\" | splitList \",\" | join \"+\" }}", &[], "a+b"),
            ("{{ ternary \"x\" \"y\" (eq .Values.a \"1\") }}", &[("a", "1")], "x"),
        ] {
            let rendered = try_render(text, values).map_err(|error| error.chain());
            assert_eq!(rendered.as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_nested_as_deep_as_can_be_is_read() {
        let most = guard::MAX_NESTED;
        let (open, close) = ("(".repeat(most), ")".repeat(most));
        drop(try_render(&format!("{{{{ {open}1{close} }}}}"), &[]));
        let blocks = "{{if 1}}".repeat(most) + "x" + &"{{end}}".repeat(most);
        drop(try_render(&blocks, &[]));
        let others =
            format!("{{{{if 0}}}}{{{{else {}}}}}x{{{{end}}}}", "if 0}}{{else ".repeat(most - 1));
        drop(try_render(&others, &[]));
    }

    #[test]
    fn hostile_ones_come_to_an_end() {
        let deep = format!("{{{{ {}1{} }}}}", "(".repeat(20_000), ")".repeat(20_000));
        let blocks = "{{if 1}}".repeat(10_000) + &"{{end}}".repeat(10_000);
        let nested = format!("{}x{}", "{{range until 1000}}".repeat(8), "{{end}}".repeat(8));
        let quiet = format!(
            "{{{{$n := until 1000}}}}{}{}",
            "{{- range $n -}}".repeat(8),
            "{{- end -}}".repeat(8)
        );
        let doubling = format!(
            "{{{{$x := \"xxxxxxxxxxxxxxxx\"}}}}{}",
            "{{$x = printf \"%s%s\" $x $x}}".repeat(60)
        );
        for text in [
            "{{define \"a\"}}{{template \"a\"}}{{end}}{{template \"a\"}}",
            "{{ template \"\" . }}",
            "{{block \"a\" .}}{{end}}",
            "{{ printf \"%999999999s\" \"x\" }}",
            "{{ printf \"%*d\" 999999999 1 }}",
            "{{ repeat 999999999 \"x\" }}",
            "{{ until 999999999 }}",
            "{{/* {{range \" */}}{{range until 999}}{{range until 999}}{{end}}{{end}}",
            "{{ if }}",
            "{{ range",
            "{{ nothing }}",
            "{{ end }}",
            "{{ \u{e9} }}",
            &deep,
            &blocks,
            &nested,
            &quiet,
            &doubling,
        ] {
            let shown: String = text.chars().take(60).collect();
            assert!(try_render(text, &[]).is_err(), "{shown}");
        }
    }
}
