package shop;

import static org.junit.Assert.assertEquals;

import java.math.BigDecimal;
import org.junit.Test;

public class MoneyTest {
    @Test
    public void sums() {
        Money sum = new Money(new BigDecimal("1.50"), "EUR").plus(new Money(BigDecimal.ONE, "EUR"));
        assertEquals("2.50 EUR", sum.toString());
    }

    @Test(expected = IllegalArgumentException.class)
    public void oneCurrencyOnly() {
        new Money(BigDecimal.ONE, "EUR").plus(new Money(BigDecimal.ONE, "USD"));
    }
}
