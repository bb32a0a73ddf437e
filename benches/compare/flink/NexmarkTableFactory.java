// Flink's side of the comparison in its own generator: nexmark-flink's table as a source of Flink 2.2, which nexmark-flink
// has not been published for. Content follows the same rules as our connector (connectors/src/nexmark): cycles of one
// person, three auctions and 46 bids, hot auctions, bidders and sellers, sizes filled up by `extra`. As in nexmark-flink all
// columns are made, one event at a time, by a SplittableRandom of the event's number.

package millstream.compare;

import java.io.Serializable;
import java.util.Set;
import java.util.SplittableRandom;

import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.connector.datagen.source.DataGeneratorSource;
import org.apache.flink.connector.datagen.source.GeneratorFunction;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.connector.source.ScanTableSource;
import org.apache.flink.table.connector.source.SourceProvider;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.factories.DynamicTableSourceFactory;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.types.DataType;

public class NexmarkTableFactory implements DynamicTableSourceFactory {
    static final ConfigOption<Long> EVENTS = ConfigOptions.key("events.num").longType().noDefaultValue();
    static final ConfigOption<Long> RATE = ConfigOptions.key("first-event.rate").longType().defaultValue(10_000L);

    @Override
    public String factoryIdentifier() {
        return "nexmark-compare";
    }

    @Override
    public Set<ConfigOption<?>> requiredOptions() {
        return Set.of(EVENTS);
    }

    @Override
    public Set<ConfigOption<?>> optionalOptions() {
        return Set.of(RATE);
    }

    @Override
    public DynamicTableSource createDynamicTableSource(Context context) {
        FactoryUtil.TableFactoryHelper helper = FactoryUtil.createTableFactoryHelper(this, context);
        helper.validate();
        return new Table(helper.getOptions().get(EVENTS), helper.getOptions().get(RATE), context.getPhysicalRowDataType());
    }

    static class Table implements ScanTableSource {
        private final long events;
        private final long rate;
        private final DataType columns;

        Table(long events, long rate, DataType columns) {
            this.events = events;
            this.rate = rate;
            this.columns = columns;
        }

        @Override
        public ChangelogMode getChangelogMode() {
            return ChangelogMode.insertOnly();
        }

        @Override
        public ScanRuntimeProvider getScanRuntimeProvider(ScanContext scan) {
            TypeInformation<RowData> type = scan.createTypeInformation(columns);
            return SourceProvider.of(new DataGeneratorSource<>(new Events(rate), events, type));
        }

        @Override
        public DynamicTableSource copy() {
            return new Table(events, rate, columns);
        }

        @Override
        public String asSummaryString() {
            return "nexmark-compare";
        }
    }

    static class Events implements GeneratorFunction<Long, RowData>, Serializable {
        private static final long serialVersionUID = 1L;
        private static final long BASE_MS = 1_436_918_400_000L;
        private static final int PERSONS = 1;
        private static final int AUCTIONS = 3;
        private static final int CYCLE = 50;
        private static final int CHANNELS = 10_000;
        private static final String[] HOT_CHANNELS = {"Google", "Facebook", "Baidu", "Apple"};
        private static final String[] FIRST = "Peter Paul Luke John Saul Vicky Kate Julie Sarah Deiter Walter".split(" ");
        private static final String[] LAST = "Shultz Abrams Spencer White Bartels Walton Smith Jones Noris".split(" ");
        private static final String[] CITIES =
                "Phoenix,Los Angeles,San Francisco,Boise,Portland,Bend,Redmond,Seattle,Kent,Cheyenne".split(",");
        private static final String[] STATES = "AZ CA ID OR WA WY".split(" ");

        private final long rate;
        private transient StringData[] channels;
        private transient StringData[] urls;

        Events(long rate) {
            this.rate = rate;
        }

        @Override
        public RowData map(Long number) {
            long n = number;
            if (channels == null) {
                makeChannels();
            }
            SplittableRandom random = new SplittableRandom(n);
            long cycle = n / CYCLE;
            int place = (int) (n % CYCLE);
            long lastPerson = cycle * PERSONS + Math.min(place, PERSONS - 1);
            long lastAuction = cycle * AUCTIONS + Math.max(-1, Math.min(place - PERSONS, AUCTIONS - 1));
            TimestampData time = TimestampData.fromEpochMillis(BASE_MS + n * 1_000 / rate);
            GenericRowData row = new GenericRowData(4);
            if (place < PERSONS) {
                row.setField(0, 0);
                row.setField(1, person(random, lastPerson, time));
            } else if (place < PERSONS + AUCTIONS) {
                row.setField(0, 1);
                row.setField(2, auction(random, n, lastAuction, lastPerson, time));
            } else {
                row.setField(0, 2);
                row.setField(3, bid(random, lastAuction, lastPerson, time));
            }
            return row;
        }

        private RowData person(SplittableRandom random, long last, TimestampData time) {
            String name = FIRST[random.nextInt(FIRST.length)] + " " + LAST[random.nextInt(LAST.length)];
            String email = letters(random, 5) + "@" + letters(random, 3) + ".com";
            String card = String.format(
                    "%04d %04d %04d %04d", random.nextInt(10_000), random.nextInt(10_000), random.nextInt(10_000),
                    random.nextInt(10_000));
            String city = CITIES[random.nextInt(CITIES.length)];
            String state = STATES[random.nextInt(STATES.length)];
            int size = 8 + name.length() + email.length() + card.length() + city.length() + state.length();
            return GenericRowData.of(
                    last + 1_000, string(name), string(email), string(card), string(city), string(state), time,
                    extra(random, size, 200));
        }

        private RowData auction(SplittableRandom random, long n, long last, long lastPerson, TimestampData time) {
            String item = letters(random, 3 + random.nextInt(17));
            String description = letters(random, 3 + random.nextInt(97));
            long initial = price(random);
            long seller = random.nextInt(4) > 0 ? lastPerson / 100 * 100 : active(random, lastPerson);
            long horizon = 100L * CYCLE / AUCTIONS * 1_000 / rate;
            long expires = time.getMillisecond() + 1 + random.nextLong(Math.max(1, 2 * horizon));
            return GenericRowData.of(
                    last + 1_000, string(item), string(description), initial, initial + price(random), time,
                    TimestampData.fromEpochMillis(expires), seller + 1_000, 10L + random.nextInt(5),
                    extra(random, 48 + item.length() + description.length(), 500));
        }

        private RowData bid(SplittableRandom random, long lastAuction, long lastPerson, TimestampData time) {
            long first = Math.max(0, lastAuction - 100);
            long auction = random.nextInt(2) > 0
                    ? lastAuction / 100 * 100
                    : first + random.nextLong(lastAuction - first + 11);
            long bidder = random.nextInt(4) > 0 ? lastPerson / 100 * 100 + 1 : active(random, lastPerson);
            long price = price(random);
            int hot = HOT_CHANNELS.length;
            int channel = random.nextInt(2) > 0 ? random.nextInt(hot) : hot + random.nextInt(CHANNELS);
            return GenericRowData.of(
                    auction + 1_000, bidder + 1_000, price, channels[channel], urls[channel], time,
                    extra(random, 32, 100));
        }

        private static long active(SplittableRandom random, long lastPerson) {
            long active = Math.min(lastPerson, 1_000);
            return lastPerson - active + random.nextLong(active + 11);
        }

        private static long price(SplittableRandom random) {
            return Math.round(Math.pow(10.0, random.nextDouble() * 6.0) * 100.0);
        }

        private static StringData extra(SplittableRandom random, int size, int wanted) {
            if (size >= wanted) {
                return string("");
            }
            int left = wanted - size;
            int spread = (left + 2) / 5;
            return string(letters(random, left - spread + (spread > 0 ? random.nextInt(2 * spread) : 0)));
        }

        private static String letters(SplittableRandom random, int length) {
            StringBuilder text = new StringBuilder(length);
            int draw = 0;
            int left = 0;
            while (text.length() < length) {
                if (left == 0) {
                    draw = random.nextInt() & Integer.MAX_VALUE;
                    left = 6;
                }
                text.append((char) ('a' + draw % 26));
                draw /= 26;
                left--;
            }
            return text.toString();
        }

        private static StringData string(String text) {
            return StringData.fromString(text);
        }

        private void makeChannels() {
            int hot = HOT_CHANNELS.length;
            channels = new StringData[hot + CHANNELS];
            urls = new StringData[hot + CHANNELS];
            for (int index = 0; index < channels.length; index++) {
                SplittableRandom random = new SplittableRandom(-1L - index);
                String url = "https://www.nexmark.com/" + letters(random, 4) + "/" + letters(random, 4) + "/"
                        + letters(random, 4) + "/item.htm?query=1";
                if (index >= hot && random.nextInt(10) > 0) {
                    url += "&channel_id=" + Math.abs(Integer.reverse(index - hot));
                }
                channels[index] = string(index < hot ? HOT_CHANNELS[index] : "channel-" + (index - hot));
                urls[index] = string(url);
            }
        }
    }
}
