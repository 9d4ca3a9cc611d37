package io.scalefl.examples.categorizer

/** Comma-separated values with quotes, as banks and spreadsheets write them (RFC 4180). */
object Csv {
    /** All rows. A field in quotes may hold commas, line breaks, and quotes written twice. Empty lines are left out. */
    fun read(text: String): List<List<String>> {
        val rows = mutableListOf<List<String>>()
        var row = mutableListOf<String>()
        val field = StringBuilder()
        var quoted = false
        var at = 0

        fun endField() {
            row += field.toString()
            field.clear()
        }

        fun endRow() {
            endField()
            if (row.any(String::isNotEmpty)) rows += row
            row = mutableListOf()
        }
        // Spreadsheets mark UTF-8 with this character.
        val content = text.removePrefix("\uFEFF")
        while (at < content.length) {
            val char = content[at]
            when {
                quoted && char == '"' && content.getOrNull(at + 1) == '"' -> field.append(content[at++])
                quoted && char == '"' -> quoted = false
                quoted -> field.append(char)
                char == '"' && field.isEmpty() -> quoted = true
                char == ',' -> endField()
                char == '\n' -> endRow()
                char == '\r' -> {}
                else -> field.append(char)
            }
            at++
        }
        require(!quoted) { "a quote is opened in row ${rows.size + 1} and never closed" }
        endRow()
        return rows
    }

    /** One row, with quotes where they are needed. */
    fun line(fields: List<String>): String = fields.joinToString(",") { field ->
        if (field.any { it in ",\"\n\r" }) "\"" + field.replace("\"", "\"\"") + "\"" else field
    }
}
