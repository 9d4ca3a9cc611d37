//! Just enough of Rust's grammar to find what a file imports: comments, strings and test code drop out, `use` trees
//! are spread into full paths. No macro expansion, no name resolution.

/// A path as written, `use` trees spread out: `use std::{fs, io::*}` gives `std::fs` and `std::io::*`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) segments: Vec<String>,
    /// From a `use` or `extern crate`; only then does a single segment name a crate.
    pub(super) import: bool,
    /// Counted from 1.
    pub(super) line: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Word(String),
    /// `::`
    Separator,
    Sign(char),
}

/// One token with the line on which it starts.
#[derive(Clone, Debug)]
pub(super) struct Token {
    kind: Kind,
    line: usize,
}

impl Token {
    fn is(&self, sign: char) -> bool {
        self.kind == Kind::Sign(sign)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(&self.kind, Kind::Word(found) if found == word)
    }
}

/// Lines on which the keyword `word` stands.
pub(super) fn lines_with(tokens: &[Token], word: &str) -> Vec<usize> {
    tokens.iter().filter(|token| token.is_word(word)).map(|token| token.line).collect()
}

/// Every path in `tokens`.
pub(super) fn paths(tokens: &[Token]) -> Vec<Path> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let next = tokens.get(at + 1);
        if token.is_word("use") && !next.is_some_and(|next| next.is('<')) {
            at = use_tree(tokens, at + 1, &[], &mut found);
        } else if token.is_word("extern") && next.is_some_and(|next| next.is_word("crate")) {
            at = use_tree(tokens, at + 2, &[], &mut found);
        } else if let Kind::Word(first) = &token.kind {
            let mut segments = vec![first.clone()];
            at += 1;
            while let [Token { kind: Kind::Separator, .. }, Token { kind: Kind::Word(word), .. }, ..] = &tokens[at..] {
                segments.push(word.clone());
                at += 2;
            }
            found.push(Path { segments, import: false, line: token.line });
        } else {
            at += 1;
        }
    }
    found
}

/// Reads one branch of a `use` tree and returns where it ends.
fn use_tree(tokens: &[Token], mut at: usize, prefix: &[String], found: &mut Vec<Path>) -> usize {
    let mut segments = prefix.to_vec();
    let line = tokens.get(at).map_or(0, |token| token.line);
    while let Some(token) = tokens.get(at) {
        match &token.kind {
            Kind::Word(word) if word == "as" => at += 1,
            Kind::Word(word) => segments.push(word.clone()),
            Kind::Sign('*') => segments.push("*".into()),
            Kind::Sign('{') => {
                at += 1;
                while tokens.get(at).is_some_and(|token| !token.is('}')) {
                    at = use_tree(tokens, at, &segments, found);
                    if tokens.get(at).is_some_and(|token| token.is(',')) {
                        at += 1;
                    } else if !tokens.get(at).is_some_and(|token| token.is('}')) {
                        return tokens.len();
                    }
                }
                return at + 1;
            }
            Kind::Separator => {}
            Kind::Sign(_) => break,
        }
        at += 1;
    }
    if segments.len() > prefix.len() {
        found.push(Path { segments, import: true, line });
    }
    at
}

/// Drops items under `#[cfg(test)]`, and everything if the file itself is under `#![cfg(test)]`.
pub(super) fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let inner = tokens[at].is('#') && tokens.get(at + 1).is_some_and(|token| token.is('!'));
        let open = at + 1 + usize::from(inner);
        if tokens[at].is('#') && tokens.get(open).is_some_and(|token| token.is('[')) {
            let end = closing(tokens, open);
            if is_cfg_test(&tokens[open..end]) {
                at = if inner { tokens.len() } else { item_end(tokens, end) };
            } else {
                kept.extend_from_slice(&tokens[at..end]);
                at = end;
            }
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

fn is_cfg_test(attribute: &[Token]) -> bool {
    let has = |word| attribute.iter().any(|token| token.is_word(word));
    attribute.get(1).is_some_and(|token| token.is_word("cfg")) && has("test") && !has("not") && !has("any")
}

/// Where the bracket that opens at `open` has closed.
fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.kind {
            Kind::Sign('(' | '[' | '{') => depth += 1,
            Kind::Sign(')' | ']' | '}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// Where the item, field or variant that starts at `at` ends, further attributes included.
fn item_end(tokens: &[Token], mut at: usize) -> usize {
    while tokens.get(at).is_some_and(|token| token.is('#')) {
        at = closing(tokens, at + 1);
    }
    const ITEMS: &[&str] =
        &["pub", "fn", "mod", "use", "impl", "struct", "enum", "const", "static", "async", "trait", "type", "let"];
    let is_item = tokens.get(at).is_some_and(|token| ITEMS.iter().any(|word| token.is_word(word)));
    while let Some(token) = tokens.get(at) {
        match token.kind {
            Kind::Sign(';') => return at + 1,
            Kind::Sign('{') => {
                let end = closing(tokens, at);
                return end + usize::from(tokens.get(end).is_some_and(|token| token.is(';')));
            }
            Kind::Sign(',') if !is_item => return at + 1,
            Kind::Sign('}') => return at,
            Kind::Sign('(' | '[') => at = closing(tokens, at),
            _ => at += 1,
        }
    }
    at
}

/// Splits source text into tokens; comments, strings, numbers and lifetimes leave none.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut reader = Reader { chars: text.chars().collect(), at: 0, line: 1 };
    let mut tokens = Vec::new();
    while let Some(char) = reader.peek(0) {
        let line = reader.line;
        match char {
            '/' if reader.peek(1) == Some('/') => reader.skip_while(|char| char != '\n'),
            '/' if reader.peek(1) == Some('*') => reader.skip_block_comment(),
            '"' => reader.skip_string(),
            '\'' => reader.skip_quote(),
            char if char.is_ascii_digit() => reader.skip_while(is_word_char),
            char if is_word_char(char) => {
                if reader.skip_prefixed_string() {
                    continue;
                }
                let raw = char == 'r' && reader.peek(1) == Some('#');
                reader.skip(if raw { 2 } else { 0 });
                let mut word = reader.word();
                if raw && matches!(word.as_str(), "use" | "extern" | "unsafe") {
                    // A name, not the keyword.
                    word.insert_str(0, "r#");
                }
                tokens.push(Token { kind: Kind::Word(word), line });
            }
            ':' if reader.peek(1) == Some(':') => {
                reader.skip(2);
                tokens.push(Token { kind: Kind::Separator, line });
            }
            char => {
                reader.skip(1);
                if !char.is_whitespace() {
                    tokens.push(Token { kind: Kind::Sign(char), line });
                }
            }
        }
    }
    tokens
}

fn is_word_char(char: char) -> bool {
    char == '_' || char.is_alphanumeric()
}

struct Reader {
    chars: Vec<char>,
    at: usize,
    line: usize,
}

impl Reader {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.line += usize::from(self.peek(0) == Some('\n'));
            self.at += 1;
        }
    }

    fn skip_while(&mut self, condition: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&condition) {
            self.skip(1);
        }
    }

    fn word(&mut self) -> String {
        let start = self.at;
        self.skip_while(is_word_char);
        self.chars[start..self.at].iter().collect()
    }

    fn skip_block_comment(&mut self) {
        let mut depth = 0_usize;
        while let Some(char) = self.peek(0) {
            match (char, self.peek(1)) {
                ('/', Some('*')) => depth += 1,
                ('*', Some('/')) => depth -= 1,
                _ => {
                    self.skip(1);
                    continue;
                }
            }
            self.skip(2);
            if depth == 0 {
                return;
            }
        }
    }

    fn skip_string(&mut self) {
        self.skip(1);
        while let Some(char) = self.peek(0) {
            self.skip(if char == '\\' { 2 } else { 1 });
            if char == '"' {
                return;
            }
        }
    }

    /// A char literal, or a lifetime or label, of which only the quote is skipped.
    fn skip_quote(&mut self) {
        if self.peek(1) == Some('\\') {
            self.skip(3);
            self.skip_while(|char| char != '\'');
            self.skip(1);
        } else if self.peek(2) == Some('\'') {
            self.skip(3);
        } else {
            self.skip(1);
            self.skip_while(is_word_char);
        }
    }

    /// Skips `b"…"`, `c"…"`, `b'…'`, `r"…"`, `br#"…"#` and the like. Returns false, unmoved, at any other word.
    fn skip_prefixed_string(&mut self) -> bool {
        let prefix = (0..2).take_while(|&ahead| matches!(self.peek(ahead), Some('b' | 'c' | 'r'))).count();
        let raw = prefix > 0 && self.peek(prefix - 1) == Some('r');
        let hashes = (prefix..).take_while(|&ahead| raw && self.peek(ahead) == Some('#')).count();
        match self.peek(prefix + hashes) {
            Some('"') if raw => {
                self.skip(prefix + hashes + 1);
                while self.peek(0).is_some() {
                    let closed = self.peek(0) == Some('"') && (1..=hashes).all(|ahead| self.peek(ahead) == Some('#'));
                    self.skip(if closed { 1 + hashes } else { 1 });
                    if closed {
                        break;
                    }
                }
                true
            }
            Some('"') if prefix > 0 => {
                self.skip(prefix);
                self.skip_string();
                true
            }
            Some('\'') if prefix == 1 && self.peek(0) == Some('b') => {
                self.skip(1);
                self.skip_quote();
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        paths(&without_tests(&tokens(text))).iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn use_trees_are_spread() {
        assert_eq!(
            found("use std::{fs, io::{self, Read as _}, time::*};\nuse ::tokio;"),
            ["std::fs", "std::io::self", "std::io::Read", "std::time::*", "tokio"]
        );
    }

    #[test]
    fn comments_and_strings_say_nothing() {
        let text = r##"
            // tokio::spawn
            /* outer /* std::fs */ tokio */
            let a = "tokio::spawn \" std::fs"; let b = r#"std::"fs""#; let c = b"tokio"; let d = '"'; let e = b'\'';
            let f: &'static str = x; let g = '\u{1F600}';
            last::word();
        "##;
        let paths = found(text);
        assert!(paths.contains(&"last::word".to_owned()), "{paths:?}");
        assert!(paths.iter().all(|path| !path.contains("tokio") && !path.contains("fs")), "{paths:?}");
    }

    #[test]
    fn raw_words_are_names() {
        assert_eq!(found("r#tokio::b; r#use; r::c; br"), ["tokio::b", "r#use", "r::c", "br"]);
        assert!(lines_with(&tokens("r#unsafe"), "unsafe").is_empty());
    }

    #[test]
    fn test_code_drops_out_and_nothing_else() {
        let text = "
            #[cfg(test)] use tokio::a;
            #[cfg(test)]
            #[allow(dead_code)]
            mod tests { use tokio::b; fn f() { tokio::c() } }
            #[cfg(test)] fn g<A, B>(x: [u8; 2]) -> u8 { tokio::d() }
            #[cfg(not(test))] use kept::one;
            struct S { #[cfg(test)] field: tokio::E, other: kept::two }
            use kept::three;
        ";
        let paths = found(text);
        assert!(paths.iter().all(|path| !path.contains("tokio")), "{paths:?}");
        for path in ["kept::one", "kept::two", "kept::three"] {
            assert!(paths.contains(&path.to_owned()), "{path} in {paths:?}");
        }
        assert!(found("#![cfg(test)]\nuse tokio::a;").is_empty());
    }

    #[test]
    fn lines_are_counted_through_comments_and_strings() {
        let tokens = tokens("/*\n*/ let a = \"\n\";\n// unsafe\nunsafe { }");
        assert_eq!(lines_with(&tokens, "unsafe"), [5]);
    }
}
