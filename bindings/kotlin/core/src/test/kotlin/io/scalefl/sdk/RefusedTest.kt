package io.scalefl.sdk

import io.scalefl.sdk.support.Scene
import io.scalefl.sdk.support.TASK
import io.scalefl.sdk.support.assertFails
import io.scalefl.sdk.support.assertReadable
import io.scalefl.sdk.support.examples
import io.scalefl.sdk.support.suspending
import kotlinx.coroutines.delay
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNotEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

/** What the device, or the coordinator, refuses; and how a person signs out. */
class RefusedTest {
    /** Takes part with the stored examples until there is another answer than "wait". */
    private suspend fun ScaleClient.answered(): Outcome {
        while (true) {
            val outcome = participate()
            if (outcome !is Outcome.Waited) return outcome
            delay((outcome.until.toLong() - System.currentTimeMillis()).coerceIn(20, 5_000))
        }
    }

    @Test
    fun `tokens that are wrong, expired or foreign are refused, and a good one then enrolls`() = suspending {
        Scene().use { scene ->
            val stranger = scene.world.tell("stranger")
            val expired = scene.world.tell("expired_token")["token"] as String
            val client = scene.client()
            val bad = listOf("not a token" to "bad_token", expired to "expired_token", stranger["token"] as String to "bad_token")
            for ((token, code) in bad) {
                val failed = assertFails(ErrorKind.REFUSED, code) { client.enroll(token) }
                assertTrue("token" in failed.sentence, failed.sentence)
                assertFalse(token in failed.toString(), "a failure holds no token")
                assertFalse(client.status().enrolled)
            }
            val needed = client.participate()
            assertTrue(needed is Outcome.EnrollmentNeeded && needed.code == "not_enrolled", "$needed")
            assertEquals(NextStart.AfterEnrollment, needed.nextStart())
            assertTrue(client.enroll(scene.token()).matches(Regex("[0-9a-f-]{32,36}")))
            assertTrue(client.status().enrolled)
            client.shutdown()

            val pinned = scene.configuration().copy(taskKey = stranger["task_key"] as String)
            ScaleClient(pinned).use { assertFails(ErrorKind.CONFIGURATION, "task_key_mismatch") { it.enroll(scene.token()) } }
        }
    }

    @Test
    fun `a model that was tampered with is not installed, and a round that offers it is left`() = suspending {
        Scene().use { scene ->
            val client = scene.enrolled()
            scene.world.tell("tamper")
            assertFails(ErrorKind.MODEL, "digest_mismatch") { client.refreshModel() }
            assertFails(ErrorKind.USAGE, "no_model") { client.predict(listOf("CAFE ROMA")) }
            client.put(examples(2))
            // Others, so that a round begins at all: they leave it as well.
            scene.world.tell("crowd", "task" to TASK, "count" to 12)
            val outcome = client.answered()
            assertTrue(outcome is Outcome.Left && outcome.code == "digest_mismatch", "$outcome")
            assertReadable((outcome as Outcome.Left).sentence)
            assertEquals(0, client.privacyReport().receipts.size, "nothing was sent, nothing is paid")
            client.shutdown()
        }
    }

    @Test
    fun `a privacy budget that is too small keeps the device out of the round`() = suspending {
        Scene(task = arrayOf("privacy" to "example", "grace_ms" to 2_000)).use { scene ->
            val limits = scene.client().use { it.guardrails().privacy }
            val little = limits.copy(lifetime = limits.lifetime.copy(example = 0.001))
            val guardrails = OwnGuardrails(privacy = little)
            val client = scene.client(guardrails = guardrails)
            assertEquals(0.001, client.guardrails().privacy.lifetime.example)
            client.enroll(scene.token())
            client.put(examples(20))
            scene.world.tell("crowd", "task" to TASK, "count" to 12)
            val outcome = client.answered()
            assertTrue(outcome is Outcome.Left, "$outcome")
            outcome as Outcome.Left
            assertTrue("budget" in outcome.code + outcome.sentence, "${outcome.code}: ${outcome.sentence}")
            assertReadable(outcome.sentence)
            assertEquals(0, client.privacyReport().receipts.size, "nothing was sent, nothing is paid")
            client.shutdown()
        }
    }

    @Test
    fun `a round with noise is paid for, told and exported`() = suspending {
        Scene(task = arrayOf("privacy" to "example", "grace_ms" to 2_000)).use { scene ->
            val client = scene.enrolled()
            client.put(examples(40))
            scene.world.tell("crowd", "task" to TASK, "count" to 12)
            var outcome = client.answered()
            while (outcome is Outcome.Left) outcome = client.answered()
            assertTrue(outcome is Outcome.Contributed, "$outcome")
            outcome as Outcome.Contributed
            val report = client.privacyReport()
            assertEquals(listOf(outcome.receipt), report.receipts)
            assertEquals(Protection.EXAMPLES, report.receipts.single().protection)
            val example = report.lifetime.example
            assertTrue(example is Epsilon.AtMost && example.epsilon > 0 && example.epsilon < 8, "$example")
            assertEquals(Epsilon.NoBound, report.lifetime.aggregate, "no bound for the person is claimed")
            assertTrue(report.receipts.single().round() in report.toJson(), report.toJson())
            assertTrue(report.receipts.single().round() in client.exportPrivacyReport())
            assertFalse(client.resetPrivacyLedger(), "an intact ledger stays")

            client.refreshModel()
            val prediction = client.predict(listOf("CAFE ROMA 7", "PETROL OSLO"), top = 3)
            assertEquals(listOf(3, 3), prediction.map { it.top.size })
            assertEquals(1.0, prediction[0].top.sumOf { it.probability.toDouble() }, 1e-3)
            client.shutdown()
        }
    }

    private fun Receipt.round() = participation!!.round

    @Test
    fun `after a sign-out nothing is left and the next person is a new device`() = suspending {
        Scene(natives = 11).use { scene ->
            val folder = scene.newFolder()
            val client = scene.client(folder)
            val first = client.enroll(scene.token())
            client.put(examples(5))
            scene.play()
            scene.contributes(client)
            assertEquals(1, client.privacyReport().receipts.size)
            client.forget(Forget.EXAMPLES)
            assertEquals(0u, client.status().examples.total)
            assertEquals(1, client.privacyReport().receipts.size, "what was spent stays")

            client.forget(Forget.EVERYTHING)
            val status = client.status()
            assertFalse(status.enrolled)
            assertEquals(null, status.model)
            assertEquals(0, client.privacyReport().receipts.size)
            val second = client.enroll(scene.token())
            assertNotEquals(first, second)
            client.shutdown()
        }
    }
}
