//! The functions that templates call, beside those of the engine.

use gtmpl_ng::{Func, FuncError, Value, funcs};

/// Longest text that a function makes.
pub(super) const MAX_TEXT: usize = 64 << 10;
/// Most elements that a function makes.
const MAX_LIST: i64 = 1000;

type Outcome = Result<Value, FuncError>;

pub(super) const TABLE: &[(&str, Func)] = &[
    ("print", |args| bounded(args, funcs::print)),
    ("println", |args| bounded(args, funcs::println)),
    ("printf", printf),
    ("add", |args| numbers(args, 0, i64::checked_add)),
    ("mul", |args| numbers(args, 1, i64::checked_mul)),
    ("sub", |args| pair(args, i64::checked_sub)),
    ("div", |args| pair(args, i64::checked_div)),
    ("mod", |args| pair(args, i64::checked_rem)),
    ("atoi", int),
    ("int", int),
    ("int64", int),
    ("until", until),
    ("contains", |args| ask(args, |text, part| text.contains(part))),
    ("hasPrefix", |args| ask(args, |text, part| text.starts_with(part))),
    ("hasSuffix", |args| ask(args, |text, part| text.ends_with(part))),
    ("trim", |args| change(args, |text| text.trim().to_owned())),
    ("upper", |args| change(args, str::to_uppercase)),
    ("lower", |args| change(args, str::to_lowercase)),
    ("toString", |args| change(args, str::to_owned)),
    ("quote", |args| change(args, |text| format!("{text:?}"))),
    ("squote", |args| change(args, |text| format!("'{text}'"))),
    ("trimPrefix", |args| with(args, |part, text| text.strip_prefix(part).unwrap_or(text).into())),
    ("trimSuffix", |args| with(args, |part, text| text.strip_suffix(part).unwrap_or(text).into())),
    ("trimAll", |args| with(args, |part, text| text.trim_matches(|c| part.contains(c)).into())),
    ("replace", replace),
    ("repeat", repeat),
    ("trunc", trunc),
    ("indent", |args| indent(args, "")),
    ("nindent", |args| indent(args, "\n")),
    ("default", default),
    ("empty", |args| Ok(Value::from(args.first().is_none_or(is_empty)))),
    ("coalesce", |args| Ok(args.iter().find(|it| !is_empty(it)).cloned().unwrap_or(Value::Nil))),
    ("ternary", ternary),
    ("list", |args| Ok(Value::Array(args.to_vec()))),
    ("first", |args| end_of(args, |list| list.first())),
    ("last", |args| end_of(args, |list| list.last())),
    ("splitList", split),
    ("join", join),
    ("splitPreserveQuotes", split_preserve_quotes),
];

fn wrong(why: &str) -> FuncError {
    FuncError::Generic(why.to_owned())
}

/// A value as text.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::NoValue | Value::Nil => String::new(),
        other => other.to_string(),
    }
}

fn made(text: String) -> Outcome {
    if text.len() > MAX_TEXT {
        return Err(wrong("a text becomes too long"));
    }
    Ok(Value::from(text))
}

/// Calls what joins its arguments.
fn bounded(args: &[Value], join: Func) -> Outcome {
    let length = |value: &Value| match value {
        Value::String(text) => text.len(),
        other => other.to_string().len(),
    };
    if args.iter().map(length).sum::<usize>() > MAX_TEXT {
        return Err(wrong("a text becomes too long"));
    }
    join(args)
}

fn printf(args: &[Value]) -> Outcome {
    let format = args.first().map(text).unwrap_or_default();
    let mut verbs = format.split('%').skip(1).map(|verb| {
        let flags: &str = verb.split(|c: char| c.is_ascii_alphabetic()).next().unwrap_or_default();
        flags.contains('*') || flags.split(|c: char| !c.is_ascii_digit()).any(|n| n.len() > 3)
    });
    if verbs.any(|wide| wide) {
        return Err(wrong("printf is given a width over 999"));
    }
    bounded(args, funcs::printf)
}

fn number(value: Option<&Value>) -> Result<i64, FuncError> {
    match value {
        Some(Value::Number(number)) => {
            number.as_i64().ok_or_else(|| wrong("a number is no whole one"))
        }
        // As `atoi` of Sprig: what is no number is 0.
        Some(other) => Ok(text(other).trim().parse().unwrap_or(0)),
        None => Err(wrong("a number is missing")),
    }
}

fn numbers(args: &[Value], zero: i64, with: fn(i64, i64) -> Option<i64>) -> Outcome {
    let mut sum = zero;
    for value in args {
        let next = with(sum, number(Some(value))?);
        sum = next.ok_or_else(|| wrong("a number becomes too large"))?;
    }
    Ok(Value::from(sum))
}

fn pair(args: &[Value], with: fn(i64, i64) -> Option<i64>) -> Outcome {
    let outcome = with(number(args.first())?, number(args.get(1))?);
    outcome.map(Value::from).ok_or_else(|| wrong("there is no such number"))
}

fn int(args: &[Value]) -> Outcome {
    number(args.first()).map(Value::from)
}

fn until(args: &[Value]) -> Outcome {
    let count = number(args.first())?;
    if count > MAX_LIST {
        return Err(wrong("until is given more than 1000"));
    }
    Ok(Value::Array((0..count).map(Value::from).collect()))
}

fn two(args: &[Value]) -> Result<(String, String), FuncError> {
    match args {
        [one, two] => Ok((text(one), text(two))),
        _ => Err(wrong("a function is given another number of arguments than two")),
    }
}

/// A question about a part and a text: Sprig takes them in this order, so that the text can be piped in.
fn ask(args: &[Value], question: fn(&str, &str) -> bool) -> Outcome {
    let (part, text) = two(args)?;
    Ok(Value::from(question(&text, &part)))
}

fn change(args: &[Value], change: fn(&str) -> String) -> Outcome {
    made(change(&args.first().map(text).unwrap_or_default()))
}

fn with(args: &[Value], change: fn(&str, &str) -> String) -> Outcome {
    let (part, text) = two(args)?;
    made(change(&part, &text))
}

fn replace(args: &[Value]) -> Outcome {
    let [from, to, within] = args else { return Err(wrong("replace is given three texts")) };
    let (from, to, within) = (text(from), text(to), text(within));
    if within.matches(from.as_str()).count().saturating_mul(to.len()) > MAX_TEXT {
        return Err(wrong("a text becomes too long"));
    }
    made(within.replace(&from, &to))
}

fn repeat(args: &[Value]) -> Outcome {
    let text = args.get(1).map(text).unwrap_or_default();
    let count = usize::try_from(number(args.first())?).unwrap_or(0);
    if text.len().saturating_mul(count) > MAX_TEXT {
        return Err(wrong("a text becomes too long"));
    }
    made(text.repeat(count))
}

fn trunc(args: &[Value]) -> Outcome {
    let count = usize::try_from(number(args.first())?).unwrap_or(usize::MAX);
    made(args.get(1).map(text).unwrap_or_default().chars().take(count).collect())
}

fn indent(args: &[Value], before: &str) -> Outcome {
    let text = args.get(1).map(text).unwrap_or_default();
    let space = usize::try_from(number(args.first())?).unwrap_or(0);
    if text.lines().count().saturating_mul(space) > MAX_TEXT {
        return Err(wrong("a text becomes too long"));
    }
    let space = " ".repeat(space);
    let lines: Vec<String> = text.split('\n').map(|line| format!("{space}{line}")).collect();
    made(format!("{before}{}", lines.join("\n")))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::NoValue | Value::Nil | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Map(map) | Value::Object(map) => map.is_empty(),
        Value::Bool(true) | Value::Function(_) => false,
    }
}

fn default(args: &[Value]) -> Outcome {
    match args {
        [fallback, value] if is_empty(value) => Ok(fallback.clone()),
        [_, value] => Ok(value.clone()),
        [fallback] => Ok(fallback.clone()),
        _ => Err(wrong("default is given a value and what stands for it")),
    }
}

fn ternary(args: &[Value]) -> Outcome {
    let [yes, no, which] = args else { return Err(wrong("ternary is given three values")) };
    Ok(if is_empty(which) { no.clone() } else { yes.clone() })
}

fn end_of(args: &[Value], end: fn(&[Value]) -> Option<&Value>) -> Outcome {
    let Some(Value::Array(list)) = args.first() else { return Err(wrong("a list is missing")) };
    Ok(end(list).cloned().unwrap_or(Value::Nil))
}

fn split(args: &[Value]) -> Outcome {
    let (by, text) = two(args)?;
    let parts = text.split(by.as_str()).take(MAX_LIST as usize).map(Value::from);
    Ok(Value::Array(parts.collect()))
}

fn join(args: &[Value]) -> Outcome {
    let [by, Value::Array(list)] = args else { return Err(wrong("join is given a list")) };
    let by = text(by);
    let parts: Vec<String> = list.iter().map(text).collect();
    made(parts.join(&by))
}

/// Rancher's own: words between white space, but none inside quotes, which stay.
fn split_preserve_quotes(args: &[Value]) -> Outcome {
    let text = args.first().map(text).unwrap_or_default();
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in text.chars() {
        match quote {
            None if c.is_whitespace() => words.push(std::mem::take(&mut word)),
            None => {
                quote = (c == '"' || c == '\'').then_some(c);
                word.push(c);
            }
            Some(open) => {
                quote = (c != open).then_some(open);
                word.push(c);
            }
        }
    }
    words.push(word);
    let words = words.into_iter().filter(|word| !word.is_empty()).take(MAX_LIST as usize);
    Ok(Value::Array(words.map(Value::from).collect()))
}
