-- -------------------------------------------------------------------------------------------------
-- Query 6: Average Selling Price by Seller
-- -------------------------------------------------------------------------------------------------
-- What is the average selling price per seller for their last 10 closed auctions.
-- Shares the same ‘winning bids’ core as for Query4, and illustrates a specialized combiner.
-- -------------------------------------------------------------------------------------------------
-- The original's OVER is over rows that are updated, which no Flink plans. This is the question itself: a Top-N of each
-- seller's auctions by the time they closed, over the winning bid of each.
-- -------------------------------------------------------------------------------------------------

CREATE TABLE nexmark_q6 (
  seller BIGINT,
  avg_price  BIGINT
) WITH (
  'connector' = 'blackhole'
);

INSERT INTO nexmark_q6
SELECT
    Q.seller,
    AVG(Q.final)
FROM (
    SELECT
        W.seller,
        W.final,
        ROW_NUMBER() OVER (PARTITION BY W.seller ORDER BY W.expires DESC, W.id DESC) AS rownum
    FROM (
        SELECT A.id, A.seller, A.expires, MAX(B.price) AS final
        FROM auction A, bid B
        WHERE A.id = B.auction AND B.`dateTime` BETWEEN A.`dateTime` AND A.expires
        GROUP BY A.id, A.seller, A.expires
    ) W
) Q
WHERE Q.rownum <= 10
GROUP BY Q.seller;
