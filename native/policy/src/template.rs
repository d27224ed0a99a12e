//! Templates of paths (envoy.extensions.path.match.uri_template): `/a/*/b`, `/a/{name}/**`, as a pattern.
//!
//! `*` is one segment, `**` any number of them, `{name}` a `*` and `{name=...}` what stands in it.

use proxyless_patterns::Pattern;

const LITERAL: &str = "a-zA-Z0-9-._~%!$&'()+,;:@";
const MOST_VARIABLES: usize = 5;
const LONGEST_NAME: usize = 16;

/// What a template matches, of a path without its query.
pub fn pattern(template: &str) -> Result<Pattern, String> {
    let Some(mut rest) = template.strip_prefix('/') else { return Err(no(template, "it begins with /")) };
    if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(no(template, "it is printable ASCII without spaces"));
    }
    let mut parser = Parser { template, globbed: false, names: Vec::new() };
    let mut regex = String::from("/");
    while !rest.is_empty() {
        let (segment, after) = parser.segment(rest)?;
        regex.push_str(&segment);
        rest = after;
        if rest == "/" {
            regex.push('/');
            break;
        }
        if let Some(after) = rest.strip_prefix('/') {
            regex.push('/');
            rest = after;
        } else if !rest.is_empty() {
            let (suffix, after) = parser.literal(rest)?;
            if !after.is_empty() {
                return Err(no(template, "nothing follows what stands behind a variable"));
            }
            regex.push_str(&suffix);
            break;
        }
    }
    Pattern::new(&regex)
}

fn no(template: &str, why: &str) -> String {
    format!("{template:?} is no template of paths: {why}")
}

struct Parser<'t> {
    template: &'t str,
    /// There was a `**`.
    globbed: bool,
    names: Vec<&'t str>,
}

impl<'t> Parser<'t> {
    fn segment(&mut self, text: &'t str) -> Result<(String, &'t str), String> {
        match text.as_bytes()[0] {
            b'*' => self.glob(text),
            b'{' => self.variable(text),
            _ => self.literal(text),
        }
    }

    fn glob(&mut self, text: &'t str) -> Result<(String, &'t str), String> {
        if self.globbed {
            return Err(no(self.template, "no * follows **"));
        }
        self.globbed = text.starts_with("**");
        Ok(match text.strip_prefix("**") {
            Some(after) => (format!("[{LITERAL}/]*"), after),
            None => (format!("[{LITERAL}]+"), &text[1..]),
        })
    }

    fn literal(&self, text: &'t str) -> Result<(String, &'t str), String> {
        let (literal, after) = text.split_at(text.find('/').unwrap_or(text.len()));
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()+,;:@".contains(&byte);
        if literal.is_empty() || !literal.bytes().all(known) {
            return Err(no(self.template, &format!("{literal:?} is no part of a path")));
        }
        let mut quoted = String::with_capacity(literal.len());
        for character in literal.chars() {
            if "$().+".contains(character) {
                quoted.push('\\');
            }
            quoted.push(character);
        }
        Ok((quoted, after))
    }

    fn variable(&mut self, text: &'t str) -> Result<(String, &'t str), String> {
        let Some((inside, after)) = text[1..].split_once('}') else {
            return Err(no(self.template, "a { is not closed"));
        };
        let (name, inner) = inside.split_once('=').map_or((inside, None), |(name, inner)| (name, Some(inner)));
        let mut letters = name.bytes();
        let named = letters.next().is_some_and(|byte| byte.is_ascii_alphabetic())
            && letters.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !named || name.len() > LONGEST_NAME || self.names.contains(&name) || self.names.len() == MOST_VARIABLES {
            return Err(no(self.template, &format!("{name:?} is no name of a variable here")));
        }
        self.names.push(name);
        let Some(mut inner) = inner else { return Ok((self.glob("*")?.0, after)) };
        let mut regex = String::new();
        loop {
            if inner.is_empty() || inner.starts_with('{') {
                return Err(no(self.template, "a variable is what it stands for"));
            }
            let (segment, rest) = self.segment(inner)?;
            regex.push_str(&segment);
            match rest.strip_prefix('/') {
                None if rest.is_empty() => return Ok((regex, after)),
                Some(rest) if !rest.is_empty() => inner = rest,
                _ => return Err(no(self.template, "a variable is whole segments")),
            }
            regex.push('/');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(template: &str, path: &str) -> bool {
        pattern(template).unwrap().matches(path).unwrap()
    }

    #[test]
    fn a_template_matches_whole_paths() {
        assert!(fits("/a/*/b", "/a/x/b") && !fits("/a/*/b", "/a//b") && !fits("/a/*/b", "/a/x/y/b"));
        assert!(fits("/a/**", "/a/") && fits("/a/**", "/a/x/y") && !fits("/a/**", "/a") && !fits("/a/**", "/b/x"));
        assert!(fits("/a/**/b", "/a/x/y/b") && !fits("/a/**/b", "/a/b"));
        assert!(fits("/a.b/{id}", "/a.b/7") && !fits("/a.b/{id}", "/axb/7"));
        assert!(fits("/{x=a/*/**}/z", "/a/b/c/d/z") && !fits("/{x=a/*}/z", "/a/b/c/z"));
        assert!(fits("/*.json", "/a.json") && !fits("/*.json", "/a.jsonx"));
        assert!(fits("/a/", "/a/") && !fits("/a/", "/a") && fits("/", "/"));
        assert!(fits("/p.S/*", "/p.S/M%20") && !fits("/p.S/*", "/p.S/M\u{e9}"));
    }

    #[test]
    fn what_is_none_is_refused() {
        for bad in [
            "",
            "a",
            "/{",
            "/{}",
            "/{1}",
            "/{a}/{a}",
            "/{a=}",
            "/{a=b/}",
            "/**/*",
            "/**/{a}",
            "/{a=**}/**",
            "/a b",
            "/a=b",
            "/*a/b",
            "/***",
            "/{a}/{b}/{c}/{d}/{e}/{f}",
            "/{abcdefghijklmnopq}",
            "//a",
        ] {
            assert!(pattern(bad).is_err(), "{bad}");
        }
    }
}
