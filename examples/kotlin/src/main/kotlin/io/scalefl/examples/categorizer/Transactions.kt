package io.scalefl.examples.categorizer

import java.io.File
import java.nio.file.Files
import java.nio.file.StandardCopyOption
import java.security.MessageDigest

/** One line of a bank statement. [category]: what the person says it is; empty if they have not. */
data class Transaction(val id: String, val date: String, val description: String, val amount: String, val category: String)

/** The transactions of this person: a file on this device, which nobody else reads. */
class Transactions(private val file: File) {
    private val known = linkedMapOf<String, Transaction>()

    init {
        if (file.exists()) {
            Csv.read(file.readText()).drop(1).forEach { (id, date, description, amount, category) ->
                known[id] = Transaction(id, date, description, amount, category)
            }
        }
    }

    val all: List<Transaction> get() = known.values.toList()

    operator fun get(id: String): Transaction? = known[id]

    /** Adds what is not there yet, and returns it. A category that is known here stays. */
    fun add(read: List<Transaction>): List<Transaction> {
        val new = read.filter { it.id !in known }
        new.forEach { known[it.id] = it }
        save()
        return new
    }

    /** Stores what the person says about a transaction. */
    fun correct(transaction: Transaction, category: String) {
        known[transaction.id] = transaction.copy(category = category)
        save()
    }

    /** Written beside the old file and put in its place: a power cut leaves one of the two. */
    private fun save() {
        val rows = listOf(COLUMNS) + all.map { listOf(it.id, it.date, it.description, it.amount, it.category) }
        file.absoluteFile.parentFile.mkdirs()
        val beside = File("${file.path}.new")
        beside.writeText(rows.joinToString("") { Csv.line(it) + "\n" })
        Files.move(beside.toPath(), file.toPath(), StandardCopyOption.REPLACE_EXISTING, StandardCopyOption.ATOMIC_MOVE)
    }

    companion object {
        private val COLUMNS = listOf("id", "date", "description", "amount", "category")

        /** Reads a bank's file; columns are found by their names, whatever their order. */
        fun parse(name: String, text: String): List<Transaction> {
            val rows = try {
                Csv.read(text)
            } catch (wrong: IllegalArgumentException) {
                throw Failure("$name is no CSV file: ${wrong.message}")
            }
            val header = rows.firstOrNull()?.map { it.trim().lowercase() } ?: throw Failure("$name is empty")
            val description = header.indexOf("description")
            if (description < 0) {
                throw Failure("$name has no column `description`; its columns are: ${header.joinToString()}")
            }
            val seen = mutableMapOf<String, Int>()
            return rows.drop(1).mapNotNull { row ->
                fun field(column: String) = row.getOrNull(header.indexOf(column))?.trim().orEmpty()
                val text = row.getOrNull(description)?.trim().orEmpty()
                if (text.isEmpty()) return@mapNotNull null
                val facts = "${field("date")}|$text|${field("amount")}"
                // The same purchase twice on one day is two transactions.
                val occurrence = seen.merge(facts, 1, Int::plus)
                Transaction(id("$facts|$occurrence"), field("date"), text, field("amount"), field("category"))
            }
        }

        /** The same for the same line of the same statement: importing it again adds nothing. */
        private fun id(facts: String): String =
            MessageDigest.getInstance("SHA-256").digest(facts.encodeToByteArray()).take(4).joinToString("") { "%02x".format(it) }
    }
}
