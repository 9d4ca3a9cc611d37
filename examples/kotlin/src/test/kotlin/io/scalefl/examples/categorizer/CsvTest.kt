package io.scalefl.examples.categorizer

import java.io.File
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir

class CsvTest {
    @Test
    fun `fields may hold commas, quotes and line breaks`() {
        val text = "\uFEFFa,b\r\n\"x, \"\"y\"\"\",\"two\nlines\"\n\n,last"
        assertEquals(listOf(listOf("a", "b"), listOf("x, \"y\"", "two\nlines"), listOf("", "last")), Csv.read(text))
        val row = listOf("plain", "a,b", "say \"so\"", "two\nlines", "")
        assertEquals(listOf(row), Csv.read(Csv.line(row)))
        assertThrows(IllegalArgumentException::class.java) { Csv.read("a,\"b") }
    }

    @Test
    fun `columns are found by name and the same line has the same id`() {
        val text = "Amount,Category,Description,Date\n-1.00,dining,CAFE ROMA,2026-11-02\n-1.00,,CAFE ROMA,2026-11-02\n"
        val (first, second) = Transactions.parse("a.csv", text)
        assertEquals(listOf("2026-11-02", "CAFE ROMA", "-1.00", "dining"), first.run { listOf(date, description, amount, category) })
        assertTrue(first.id != second.id, "the same purchase twice is two transactions")
        assertEquals(first.id, Transactions.parse("b.csv", "date,description,amount\n2026-11-02,CAFE ROMA,-1.00").single().id)
        val failed = assertThrows(Failure::class.java) { Transactions.parse("a.csv", "date,text\n1,2") }
        assertTrue("no column `description`" in failed.message!! && "date, text" in failed.message!!, failed.message)
    }

    @Test
    fun `transactions and corrections are kept`(@TempDir folder: File) {
        val file = File(folder, "deep/transactions.csv")
        val read = Transactions.parse("a.csv", "description,amount\n\"A, B\",1\nC,2")
        assertEquals(read, Transactions(file).add(read))
        Transactions(file).run { correct(this[read[0].id]!!, "dining") }
        assertEquals(listOf("dining", ""), Transactions(file).all.map { it.category })
        assertEquals(emptyList<Transaction>(), Transactions(file).add(read))
    }
}
