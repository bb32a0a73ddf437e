CREATE FUNCTION half AS 'com.example.Half'; SELECT half(1) AS h;
