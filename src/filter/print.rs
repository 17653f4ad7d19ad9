//! Writing an expression so that it reads back as the same one.

use super::ast::{Check, Expr, Op, Test};
use super::field::{Descriptor, Field, Index, Of, What};
use super::lexer::{NOT_FIRST, RESERVED};

pub(super) fn expr(expr: &Expr, out: &mut Vec<u8>) {
    match expr {
        Expr::Or(parts) => joined(parts, b" or ", |part| matches!(part, Expr::Or(_)), out),
        Expr::And(parts) => {
            joined(parts, b" and ", |part| matches!(part, Expr::Or(_) | Expr::And(_)), out);
        }
        Expr::Not(inner) => {
            out.extend_from_slice(b"not ");
            grouped(inner, matches!(**inner, Expr::Or(_) | Expr::And(_)), out);
        }
        Expr::Test(inner) => test(inner, out),
    }
}

fn joined(parts: &[Expr], between: &[u8], group: impl Fn(&Expr) -> bool, out: &mut Vec<u8>) {
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            out.extend_from_slice(between);
        }
        grouped(part, group(part), out);
    }
}

fn grouped(inner: &Expr, group: bool, out: &mut Vec<u8>) {
    if group {
        out.push(b'(');
    }
    expr(inner, out);
    if group {
        out.push(b')');
    }
}

pub(super) fn test(test: &Test, out: &mut Vec<u8>) {
    field(&test.field, out);
    match &test.check {
        Check::Exists => {}
        Check::Compare { op, negated, value } => {
            operator(*op, *negated, out);
            self::value(value, false, out);
        }
        Check::In { negated, values } => {
            out.extend_from_slice(if *negated { b" not in (" } else { b" in (" });
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    out.extend_from_slice(b", ");
                }
                self::value(value, true, out);
            }
            out.push(b')');
        }
    }
}

fn operator(op: Op, negated: bool, out: &mut Vec<u8>) {
    if op.is_word() {
        out.extend_from_slice(if negated { b" not " } else { b" " });
        out.extend_from_slice(op.text().as_bytes());
        out.push(b' ');
    } else {
        if negated {
            out.push(b'!');
        }
        out.extend_from_slice(op.text().as_bytes());
    }
}

pub(super) fn field(field: &Field, out: &mut Vec<u8>) {
    out.extend_from_slice(match field.of {
        Of::Process => b"",
        Of::Parent => b"parent.",
        Of::Ancestor => b"ancestor.",
    });
    out.extend_from_slice(field.what.name().as_bytes());
    match &field.what {
        What::Arg(Index::At(at)) => out.extend_from_slice(format!("[{at}]").as_bytes()),
        What::Fd(Descriptor::Number(number)) | What::FdType(Descriptor::Number(number)) => {
            out.extend_from_slice(format!("[{number}]").as_bytes());
        }
        What::Arg(Index::Any) | What::Fd(Descriptor::Any) | What::FdType(Descriptor::Any) => {
            out.extend_from_slice(b"[*]");
        }
        What::Env(name) => {
            out.push(b'[');
            env_name(name, out);
            out.push(b']');
        }
        _ => {}
    }
    if matches!(field.what, What::FdType(_)) {
        out.extend_from_slice(b".type");
    }
}

fn env_name(name: &[u8], out: &mut Vec<u8>) {
    let plain = |b: &u8| !b.is_ascii_whitespace() && !b"]'\"".contains(b);
    if name != b"*" && name.iter().all(plain) {
        out.extend_from_slice(name);
    } else {
        quote(name, out);
    }
}

/// A value, bare where that reads back.
pub(super) fn value(value: &[u8], list: bool, out: &mut Vec<u8>) {
    match parentheses(value) {
        _ if !is_plain(value, list) => quote(value, out),
        Parentheses::Balanced => out.extend_from_slice(value),
        // A backslash at the end would swallow a quote. Such a value was bare when it was read;
        // the space keeps a `)` that may follow out of it.
        Parentheses::Open if value.ends_with(b"\\") => {
            out.extend_from_slice(value);
            out.push(b' ');
        }
        Parentheses::Open | Parentheses::Closed => quote(value, out),
    }
}

fn is_plain(value: &[u8], list: bool) -> bool {
    let ends = |b: &u8| b.is_ascii_whitespace() || b"'\"".contains(b) || (list && *b == b',');
    !value.is_empty()
        && !NOT_FIRST.contains(&value[0])
        && !RESERVED.contains(&value)
        && !value.iter().any(ends)
        && !value.windows(2).any(|pair| pair == b"&&" || pair == b"||")
}

enum Parentheses {
    Balanced,
    /// One is open at the end.
    Open,
    /// One is closed that was not open.
    Closed,
}

fn parentheses(value: &[u8]) -> Parentheses {
    let mut open = 0_usize;
    for byte in value {
        match byte {
            b'(' => open += 1,
            b')' if open == 0 => return Parentheses::Closed,
            b')' => open -= 1,
            _ => {}
        }
    }
    if open == 0 { Parentheses::Balanced } else { Parentheses::Open }
}

/// A value in quotes. One that ends in a backslash cannot be quoted, and none that is read
/// from quotes does.
pub(super) fn quote(value: &[u8], out: &mut Vec<u8>) {
    let quote = if value.contains(&b'\'') && !value.contains(&b'"') { b'"' } else { b'\'' };
    out.push(quote);
    for &byte in value {
        if byte == quote {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(quote);
}
