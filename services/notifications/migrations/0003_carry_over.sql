-- no-transaction
-- What the earlier tables have, in steps that do not make anybody wait. What is
-- written meanwhile is carried over by triggers; a run that broke off begins again.
do $$
declare
    given notices[];
    passed uuid := '00000000-0000-0000-0000-000000000000';
begin
    loop
        select array_agg(n order by n.id) into given from notices n
        where n.id in (select id from notices where id > passed order by id limit 2000);
        exit when given is null;
        perform carry_over(given);
        passed := (given[cardinality(given)]).id;
        commit;
    end loop;
end
$$;
