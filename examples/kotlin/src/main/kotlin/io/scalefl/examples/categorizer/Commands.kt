package io.scalefl.examples.categorizer

import io.scalefl.sdk.Example
import io.scalefl.sdk.NextStart
import io.scalefl.sdk.Outcome
import io.scalefl.sdk.Prediction
import io.scalefl.sdk.ScaleClient
import io.scalefl.sdk.nextStart
import io.scalefl.sdk.toJson
import java.io.File
import java.io.IOException
import java.time.Instant
import java.util.Locale
import kotlinx.coroutines.delay

/** What each command does. Every function prints its own answer. */
class Commands(private val arguments: Arguments, private val client: ScaleClient, private val screen: Screen) {
    private val transactions = Transactions(File(arguments.folder, "transactions.csv"))

    suspend fun run() {
        val (first, second) = arguments.rest + listOf("", "")
        when (arguments.command) {
            "enroll" -> enroll(first)
            "import" -> import(File(first))
            "categorize" -> categorize(first)
            "correct" -> correct(first, second)
            "join" -> join()
            "status" -> status()
            "receipts" -> receipts()
        }
    }

    private suspend fun enroll(token: String) {
        val device = client.enroll(token)
        screen.answer({ "{\"device\":${quoted(device)}}" }) { "enrolled as $device" }
    }

    private suspend fun import(file: File) {
        val text = try {
            file.readText()
        } catch (failed: IOException) {
            throw Failure("cannot read ${file.path}: ${failed.message}")
        }
        val read = Transactions.parse(file.path, text)
        val new = transactions.add(read)
        // Put again even if known: an import that was interrupted is completed by the next one.
        val examples = transactions.all.filter { it.category.isNotEmpty() }
        client.put(examples.map { Example(it.id, it.description, it.category, null) })
        val guesses = guesses(new.filter { it.category.isEmpty() })
        screen.answer({ "{\"transactions\":${read.size},\"new\":${new.size},\"examples\":${examples.size}}" }) {
            val lines = new.map { line(it, guesses[it.id]) }
            (lines + "${read.size} transactions, ${new.size} of them new; ${examples.size} examples to learn from").joinToString("\n")
        }
    }

    /** What the model says about transactions without a category; nothing before the first model is there. */
    private suspend fun guesses(unknown: List<Transaction>): Map<String, String> {
        if (unknown.isEmpty() || client.status().model == null) return emptyMap()
        val predictions = client.predict(unknown.map(Transaction::description))
        return unknown.zip(predictions).associate { (transaction, prediction) -> transaction.id to "${prediction.top.first().label}?" }
    }

    private fun line(of: Transaction, guess: String?): String {
        val category = of.category.ifEmpty { guess ?: "?" }
        return "${of.id}  ${of.date.padEnd(10)}  ${of.amount.padStart(10)}  ${category.padEnd(16)}  ${of.description}"
    }

    private suspend fun categorize(text: String) {
        if (client.status().model == null) client.refreshModel()
        val prediction = client.predict(listOf(text), top = 3).single()
        screen.answer({ prediction.json(text) }) {
            prediction.top.joinToString("\n") { "%5.1f %%  %s".format(Locale.ROOT, it.probability * 100, it.label) }
        }
    }

    private suspend fun correct(id: String, label: String) {
        val transaction = transactions[id]
            ?: throw Failure("there is no transaction `$id`; `import` prints the ids of those that it reads")
        client.put(listOf(Example(id, transaction.description, label, null)))
        transactions.correct(transaction, label)
        screen.answer({ "{\"id\":${quoted(id)},\"label\":${quoted(label)}}" }) { "$id is $label now: ${transaction.description}" }
    }

    private suspend fun join() {
        val outcomes = mutableListOf<Outcome>()
        var left = arguments.rounds
        while (left > 0) {
            val outcome = client.participate(ignoringConditions = arguments.anyConditions, onProgress = screen::progress)
            screen.clear()
            outcomes += outcome
            if (!arguments.json) println(told(outcome))
            if (outcome is Outcome.Contributed) left--
            // One that has contributed asks again at once; the coordinator says if that is too early.
            if (outcome is Outcome.Contributed || left == 0) continue
            when (val next = outcome.nextStart()) {
                is NextStart.After -> delay(next.delay)
                NextStart.AfterEnrollment ->
                    throw Failure("this device is not enrolled; get a token and run: scale-categorizer enroll TOKEN")
                NextStart.Never -> break
            }
        }
        if (arguments.json) println(outcomes.joinToString(",", "[", "]") { it.toJson() })
    }

    private fun told(outcome: Outcome) = when (outcome) {
        is Outcome.Contributed -> "round ${outcome.number}: contributed; ${outcome.receipt?.sentence ?: "its receipt cannot be read"}"
        is Outcome.Paused -> "paused in the phase ${outcome.phase.name.lowercase()}; goes on in ${outcome.resumeAfterMs / 1000u} s"
        is Outcome.Waited -> "waits until ${time(outcome.until)}: ${outcome.sentence}"
        is Outcome.Left -> "left the round: ${outcome.sentence}; tries again at ${time(outcome.until)}"
        is Outcome.EnrollmentNeeded -> outcome.sentence
    }

    private suspend fun status() {
        val status = client.status()
        screen.answer({ status.toJson() }) {
            listOf(
                "enrolled: ${if (status.enrolled) "yes" else "no"}",
                "model: ${status.model?.let { "version ${it.version}, ${it.labels.size} labels" } ?: "none yet"}",
                "examples: ${status.examples.total}",
                "transactions: ${transactions.all.size}",
                "next: ${status.next?.let(::time) ?: "now"}",
                "missing: ${status.missing.joinToString { it.sentence }.ifEmpty { "nothing" }}",
                "last: ${status.last?.let { "${it.outcome} at ${time(it.at)}; ${it.sentence}" } ?: "none yet"}",
            ).joinToString("\n")
        }
    }

    private suspend fun receipts() {
        val report = client.privacyReport()
        screen.answer({ report.toJson() }) {
            val receipts = report.receipts.map { "${it.date ?: "unknown date"}  ${it.sentence}" }
            (listOf(report.summary) + receipts + report.assumptions).joinToString("\n")
        }
    }

    private fun time(millis: ULong): Instant = Instant.ofEpochMilli(millis.toLong())

    private fun Prediction.json(text: String): String {
        val labels = top.joinToString(",") { "{\"label\":${quoted(it.label)},\"probability\":${it.probability}}" }
        return "{\"text\":${quoted(text)},\"top\":[$labels]}"
    }
}
