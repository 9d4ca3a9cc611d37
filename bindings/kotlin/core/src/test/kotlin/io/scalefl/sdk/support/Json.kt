package io.scalefl.sdk.support

/** JSON as maps, lists, strings, numbers (`Double`), booleans and null: enough for the test world's lines. */
object Json {
    fun read(text: String): Any? = Reader(text).whole()

    fun write(value: Any?): String = when (value) {
        null -> "null"
        is String -> value.quoted()
        is Number, is Boolean -> value.toString()
        is Map<*, *> -> value.entries.joinToString(",", "{", "}") { (key, inner) -> "${key.toString().quoted()}:${write(inner)}" }
        is Iterable<*> -> value.joinToString(",", "[", "]", transform = ::write)
        else -> error("no JSON for ${value.javaClass}")
    }

    private fun String.quoted() = buildString {
        append('"')
        for (char in this@quoted) {
            when {
                char == '"' || char == '\\' -> append('\\').append(char)
                char < ' ' -> append("\\u%04x".format(char.code))
                else -> append(char)
            }
        }
        append('"')
    }

    private class Reader(private val text: String) {
        private var at = 0

        fun whole(): Any? = value().also { check(blank() && at == text.length) { "more than one value at $at: $text" } }

        private fun blank(): Boolean {
            while (at < text.length && text[at].isWhitespace()) at++
            return true
        }

        private fun take(char: Char): Boolean {
            blank()
            return (at < text.length && text[at] == char).also { if (it) at++ }
        }

        private fun need(char: Char) = check(take(char)) { "'$char' is missing at $at: $text" }

        private fun value(): Any? {
            blank()
            return when (text[at]) {
                '{' -> members()
                '[' -> items()
                '"' -> string()
                else -> word()
            }
        }

        private fun members(): Map<String, Any?> {
            need('{')
            val found = linkedMapOf<String, Any?>()
            if (take('}')) return found
            do {
                blank()
                val name = string()
                need(':')
                found[name] = value()
            } while (take(','))
            need('}')
            return found
        }

        private fun items(): List<Any?> {
            need('[')
            val found = mutableListOf<Any?>()
            if (take(']')) return found
            do found += value() while (take(','))
            need(']')
            return found
        }

        private fun string(): String = buildString {
            need('"')
            while (text[at] != '"') {
                if (text[at] != '\\') {
                    append(text[at++])
                    continue
                }
                when (val escaped = text[at + 1]) {
                    'u' -> append(text.substring(at + 2, at + 6).toInt(16).toChar()).also { at += 4 }
                    'n' -> append('\n')
                    't' -> append('\t')
                    'r' -> append('\r')
                    'b' -> append('\b')
                    'f' -> append('\u000c')
                    else -> append(escaped)
                }
                at += 2
            }
            at++
        }

        private fun word(): Any? {
            val start = at
            while (at < text.length && text[at] !in ",]} \n\t\r") at++
            return when (val word = text.substring(start, at)) {
                "null" -> null
                "true" -> true
                "false" -> false
                else -> word.toDouble()
            }
        }
    }
}
